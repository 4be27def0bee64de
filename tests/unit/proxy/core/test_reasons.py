import re

import pytest

from proxy.core.reasons import REASONS, Actor, Reason


def test_each_reason_has_exactly_one_page_in_the_order_of_the_list() -> None:
    assert list(REASONS) == list(Reason)


def test_codes_are_unique_snake_case_and_the_name_in_lower_case() -> None:
    codes = [reason.value for reason in Reason]
    assert len(set(codes)) == len(Reason.__members__) == len(codes)  # an alias would be a member more
    assert [code for code in codes if not re.fullmatch(r"[a-z]+(_[a-z]+)*", code)] == []
    assert codes == [name.lower() for name in Reason.__members__]


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.value)
def test_a_page_says_what_it_means_and_what_to_change(reason: Reason) -> None:
    page = REASONS[reason]
    for text in (page.meaning, page.change):
        assert text.endswith(".")
        assert text[0].isupper() or text.startswith("podkey")
        assert "  " not in text


def test_nobody_has_to_act_only_where_nothing_is_refused() -> None:
    nobody = {reason for reason, page in REASONS.items() if page.actor is Actor.NOBODY}
    assert nobody == {Reason.GRANTED, Reason.UNGOVERNED_HOST, Reason.BLOB_HOST}


def test_no_two_reasons_mean_the_same() -> None:
    assert len({page.meaning for page in REASONS.values()}) == len(REASONS)


# A code stands in dashboards, alerts and audit records: it is never renamed and never reused. New ones
# may come; what stands here stays.
@pytest.mark.parametrize(
    "code",
    [
        *["granted", "ungoverned_host", "blob_host", "would_attach", "would_refuse"],
        *["malformed_path", "ambiguous_path", "ambiguous_query", "query_auth_present"],
        *["port_not_granted", "method_not_granted", "path_not_granted", "query_not_granted"],
        *["pin_unreadable", "pin_not_granted", "unknown_action", "action_not_granted", "minting_api"],
        *["gpu_required", "gpu_forbidden", "image_not_allowed", "unknown_credential"],
        *["not_yet_valid", "expired", "outside_window", "ambiguous_grant", "foreign_credential"],
    ],
)
def test_a_published_code_is_never_renamed(code: str) -> None:
    assert Reason(code).value == code
