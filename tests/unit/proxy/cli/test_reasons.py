import json

import pytest

from proxy.core.injection_codes import INJECTION_CODES, InjectionCode
from proxy.core.reason_pages import REASONS
from proxy.core.reasons import Reason
from tests.command_line import podkey


def test_tells_of_every_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert podkey("reasons") == 0

    out = capsys.readouterr().out
    heads = [line for line in out.splitlines() if not line.startswith(" ")]
    assert heads == [code.value for codes in (Reason, InjectionCode) for code in codes]


def test_tells_of_one_reason_what_it_means_who_acts_and_what_to_change(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = REASONS[Reason.PATH_NOT_GRANTED]

    assert podkey("reasons", "path_not_granted") == 0
    assert capsys.readouterr().out == (
        f"path_not_granted\n  {page.meaning}\n  who acts: platform team\n  what to change: {page.change}\n"
        "  status: 403\n"
    )


def test_a_reason_that_refuses_nothing_has_no_status(capsys: pytest.CaptureFixture[str]) -> None:
    podkey("reasons", "granted")
    text = capsys.readouterr().out
    podkey("reasons", "granted", "--output", "json")
    (row,) = json.loads(capsys.readouterr().out)

    assert "status" not in text
    assert row["status"] is None


def test_json_holds_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert podkey("reasons", "expired", "--output", "json") == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "code": "expired",
            "about": "request",
            "meaning": REASONS[Reason.EXPIRED].meaning,
            "actor": "platform team",
            "change": REASONS[Reason.EXPIRED].change,
            "status": 403,
        }
    ]


def test_json_of_all_has_a_row_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    podkey("reasons", "--output", "json")

    rows = json.loads(capsys.readouterr().out)
    assert [row["code"] for row in rows if row["about"] == "request"] == [r.value for r in Reason]
    assert [row["code"] for row in rows if row["about"] == "pod"] == [c.value for c in InjectionCode]


def test_tells_of_a_pods_code_what_follows_from_it(capsys: pytest.CaptureFixture[str]) -> None:
    page = INJECTION_CODES[InjectionCode.HOST_NETWORK]

    assert podkey("reasons", "host_network") == 0
    assert capsys.readouterr().out == (
        f"host_network\n  {page.meaning}\n"
        "  what follows: the pod starts without a sidecar or the pod is refused\n"
        f"  what to change: {page.change}\n"
    )


def test_json_of_a_pods_code_holds_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    page = INJECTION_CODES[InjectionCode.PROXY_UID]

    podkey("reasons", "proxy_uid", "--output", "json")
    assert json.loads(capsys.readouterr().out) == [
        {
            "code": "proxy_uid",
            "about": "pod",
            "meaning": page.meaning,
            "kinds": ["refuse"],
            "change": page.change,
        }
    ]


@pytest.mark.parametrize("output", ["text", "json"])
def test_an_unknown_code_is_a_usage_error_with_a_suggestion(
    output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert podkey("reasons", "path_not_grantd", "--output", output) == 64

    out, err = capsys.readouterr()
    assert out == ""
    assert "there is no reason code `path_not_grantd`; did you mean `path_not_granted`?" in err
