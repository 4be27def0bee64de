import pytest

from proxy.core.injection_codes import INJECTION_CODES, CodeKind, InjectionCode
from proxy.core.reasons import Reason


def test_each_code_has_exactly_one_page_in_the_order_of_the_list() -> None:
    assert list(INJECTION_CODES) == list(InjectionCode)


def test_no_code_of_a_pod_is_one_of_a_request() -> None:
    assert {code.value for code in InjectionCode} & {reason.value for reason in Reason} == set()


@pytest.mark.parametrize("code", InjectionCode, ids=lambda code: code.value)
def test_a_page_says_what_it_means_and_what_to_change(code: InjectionCode) -> None:
    page = INJECTION_CODES[code]
    assert page.kinds
    for text in (page.meaning, page.change):
        assert text.endswith((".", "`."))
        assert "  " not in text


def test_what_a_setting_softens_can_be_refused_and_warned_of() -> None:
    both = {
        code for code, page in INJECTION_CODES.items() if set(page.kinds) == {CodeKind.REFUSE, CodeKind.WARN}
    }
    assert both == {InjectionCode.PRIVILEGED, InjectionCode.CAPABILITY, InjectionCode.SECRET_IN_APPLICATION}
