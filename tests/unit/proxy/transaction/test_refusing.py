"""The words of a refusal."""

import pytest

from proxy.core.hosts import Hostname
from proxy.core.reason_pages import REASONS
from proxy.core.reasons import NOT_REFUSED, Reason
from proxy.core.request import RequestFacts
from proxy.core.services import Dialect
from proxy.core.settings import Capture
from proxy.core.structs import replace
from proxy.core.verdict import Refuse
from proxy.transaction.head import Head
from proxy.transaction.opening import Refused
from proxy.transaction.recording import began
from proxy.transaction.refusals import render_refusal
from proxy.transaction.refusing import BEYOND_POLICY, Asked, explain_lack, refuse
from tests.judge_world import NOON, ref
from tests.transaction_world import API, POD, POLICIES, WHO, head, to

REFUSALS = [reason for reason in Reason if reason not in NOT_REFUSED]
ASKED = Asked(POD, API, "request-1", NOON)


def refusal(
    reason: Reason = Reason.PATH_NOT_GRANTED,
    what: Head | None = None,
    path: str = "/v1",
    asked: Asked = ASKED,
    *,
    closes: bool = False,
) -> Refused:
    record = began(asked.pod, asked.arrival, NOON, "request-1", what, path)
    return refuse(asked, what, record, reason, "it is so", ref("p"), closes=closes)


def lacks(reason: Reason, rule: int | None, target: str = "/v2") -> str:
    rules = POLICIES.for_pod(WHO).rules_for(API.name)
    verdict = Refuse(reason, None if rule is None else ref("p", rule))
    return explain_lack(rules, verdict, RequestFacts.of(API.name, "GET", target), NOON)


@pytest.mark.parametrize("reason", REFUSALS, ids=lambda reason: reason.value)
def test_every_refusal_says_what_why_nearest_and_where_to_read_more(reason: Reason) -> None:
    opening = refusal(reason, head())
    message = opening.refusal.message

    assert message.startswith("podkey refused GET https://api.example.com/v1: it is so. ")
    assert "Nearest grant: ml/p grants[0]." in message
    assert message.endswith(f"More: `podkey reasons {reason.value}`.")
    # Only what policies decide can be explained from them.
    assert ("podkey explain" in message) is (REASONS[reason].status == 403)
    assert (opening.record.verdict, opening.record.reason) == ("refuse", reason.value)


def test_every_status_is_policys_or_beyond_it() -> None:
    assert {REASONS[reason].status for reason in REFUSALS} == BEYOND_POLICY | {403}


def test_without_a_head_the_host_is_all_that_is_known() -> None:
    message = refusal(Reason.CLEARTEXT).refusal.message

    assert message.startswith("podkey refused a request to api.example.com: it is so. ")
    assert "podkey explain" not in message


def test_without_a_path_there_is_nothing_to_explain() -> None:
    message = refusal(Reason.ENDPOINT_TOKEN, head(), path="").refusal.message

    assert message.startswith("podkey refused GET https://api.example.com/: ")
    assert "podkey explain" not in message


def test_the_command_can_be_pasted_whatever_the_request_holds() -> None:
    what = head(method="GET;reboot")
    message = refusal(what=what, path="/v1/$(x)'y", asked=ASKED._replace(arrival=to("a.example", 8443)))

    assert (
        """`podkey explain 'GET;reboot' 'https://a.example:8443/v1/$(x)'"'"'y' --policies DIR """
        in message.refusal.message
    )


def test_a_refusal_closes_only_when_it_is_told_to() -> None:
    assert not refusal().closes
    assert refusal(closes=True).closes


def test_a_host_of_no_service_is_answered_in_plain_json() -> None:
    assert refusal().refusal.dialect is Dialect.PLAIN_JSON
    openai = ASKED._replace(arrival=replace(to("api.openai.com"), capture=Capture.EXPLICIT))
    assert refusal(asked=openai).refusal.dialect is Dialect.OPENAI_JSON


def test_what_the_nearest_grant_lacks_is_told_in_its_words() -> None:
    assert lacks(Reason.PATH_NOT_GRANTED, 0) == "/v2 does not match /v1/**"


def test_a_grant_of_another_group_is_found_too() -> None:
    rules = POLICIES.for_pod(WHO).rules_for(Hostname("api.openai.com"))
    both = rules.groups + POLICIES.for_pod(WHO).rules_for(API.name).groups
    facts = RequestFacts.of(API.name, "GET", "/v2")
    rules = POLICIES.for_pod(WHO).rules_for(API.name)
    wide = type(rules)(both, (), rules.minting, observed=False)

    assert explain_lack(wide, Refuse(Reason.PATH_NOT_GRANTED, ref("p", 0)), facts, NOON).startswith("/v2 ")


@pytest.mark.parametrize(
    ("reason", "rule", "says"),
    [
        # No grant came near.
        (Reason.PORT_NOT_GRANTED, None, "The host is granted, but not on this port (443 unless the grant"),
        (Reason.MALFORMED_PATH, None, "The request path is no valid path"),
        # Grants cover the request; that is not what is wrong.
        (Reason.FOREIGN_CREDENTIAL, 0, "The application sent a credential of its own that is not this pod"),
        (Reason.AMBIGUOUS_GRANT, 0, "Several grants cover the request and would attach different"),
    ],
)
def test_what_no_grant_lacks_is_told_by_what_the_reason_means(
    reason: Reason, rule: int | None, says: str
) -> None:
    told = lacks(reason, rule)

    assert told.startswith(says)
    assert not told.endswith(".")


@pytest.mark.parametrize("what", [None, head(), head(method="HEAD")])
@pytest.mark.parametrize("reason", REFUSALS, ids=lambda reason: reason.value)
def test_every_refusal_can_be_rendered(reason: Reason, what: Head | None) -> None:
    answer = render_refusal(refusal(reason, what).refusal)

    assert answer.status == REASONS[reason].status
    assert bool(answer.body) is (what is None or what.method != "HEAD")
