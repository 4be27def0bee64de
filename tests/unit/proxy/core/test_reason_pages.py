import pytest

from proxy.core.reason_pages import REASONS
from proxy.core.reasons import NOT_REFUSED, Actor, Reason


def test_each_reason_has_exactly_one_page_in_the_order_of_the_list() -> None:
    assert list(REASONS) == list(Reason)


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.value)
def test_a_page_says_what_it_means_and_what_to_change(reason: Reason) -> None:
    page = REASONS[reason]
    for text in (page.meaning, page.change):
        assert text.endswith(".")
        assert text[0].isupper() or text.startswith("podkey")
        assert "  " not in text


def test_nobody_has_to_act_only_where_nothing_is_refused() -> None:
    nobody = {reason for reason, page in REASONS.items() if page.actor is Actor.NOBODY}
    assert nobody == {
        Reason.GRANTED,
        Reason.UNGOVERNED_HOST,
        Reason.BLOB_HOST,
        Reason.PRESIGNED_ELSEWHERE,
    }


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason not in NOT_REFUSED])
def test_no_refusal_makes_an_sdk_try_again_or_ask_for_another_credential(reason: Reason) -> None:
    # 401 and 407 ask for a credential; 408, 409, 425, 429 and 503 are tried again by nearly all, which is
    # right only for what passes by itself.
    again = {503} if reason is Reason.OVERLOADED else set()
    assert REASONS[reason].status in {400, 403, 413, 421, 431, 500, 502, 504} | again


@pytest.mark.parametrize(
    ("status", "codes"),
    [
        (
            400,
            {"malformed_path", "ambiguous_path", "malformed_query", "ambiguous_query", "malformed_request"}
            | {"malformed_presigned", "unsupported_payload", "malformed_body"},
        ),
        (413, {"body_too_large"}),
        (421, {"name_mismatch"}),
        (431, {"headers_too_large"}),
        (500, {"internal_error"}),
        (
            502,
            {"credential_unavailable", "credential_unusable"}
            | {"upstream_unreachable", "upstream_unverified", "upstream_failed"},
        ),
        (503, {"overloaded"}),
        (504, {"upstream_stalled", "request_timed_out"}),
    ],
)
def test_a_status_says_whose_fault_it_is(status: int, codes: set[str]) -> None:
    """The client's, ours, or that of what lies behind us; all that policy decides is 403."""
    assert {reason.value for reason, page in REASONS.items() if page.status == status} == codes


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
        *["malformed_query", "method_forbidden", "override_header"],
        *[
            "malformed_request",
            "headers_too_large",
            "name_mismatch",
            "cleartext",
            "endpoint_token",
            "identity_unverified",
        ],
        *["credential_unavailable", "credential_unusable", "upstream_unreachable"],
        *["upstream_unverified", "upstream_failed", "upstream_stalled", "fenced_address"],
        *["internal_error", "request_timed_out"],
    ],
)
def test_a_published_code_is_never_renamed(code: str) -> None:
    assert Reason(code).value == code
