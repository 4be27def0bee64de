"""The record as it grows with a request."""

import pytest

from proxy.core.audit import AuditRecord
from proxy.core.credentials import Bearer
from proxy.core.hosts import Hostname
from proxy.core.reasons import Reason
from proxy.core.request import ClientCredential, RequestFacts
from proxy.core.structs import replace
from proxy.core.verdict import Attach, PassThrough, ReadBody, Refuse, Verdict
from proxy.transaction.recording import began, decided, leased, refused
from tests.judge_world import NOON, credential, ref
from tests.transaction_world import API, POD, POLICIES, WHO, head, lease_of

S3 = Hostname("s3.eu-central-1.amazonaws.com")
GRANTED = Attach(ref("p", 2), credential("a"), Bearer())
BEGUN = began(POD, API, NOON, "request-1", head(), "/v1/models")


def after(
    verdict: Verdict, target: str = "/v1", host: str = API.name, client: str = "absent", method: str = "GET"
) -> AuditRecord:
    rules = POLICIES.for_pod(WHO).rules_for(Hostname(host))
    facts = RequestFacts.of(Hostname(host), method, target, client_credential=ClientCredential(client))
    return decided(BEGUN, verdict, rules, facts)


def changes(record: AuditRecord) -> dict[str, object]:
    """What was written since the beginning."""
    begun = BEGUN.to_record()
    return {name: value for name, value in record.to_record().items() if value != begun[name]}


def test_it_begins_with_who_where_and_what() -> None:
    assert replace(
        BEGUN,
        method="",
        path="",
        protocol="",
    ) == began(POD, API, NOON, "request-1")
    assert (BEGUN.method, BEGUN.path, BEGUN.protocol) == ("GET", "/v1/models", "HTTP/1.1")
    assert (BEGUN.namespace, BEGUN.pod_uid, BEGUN.evidence) == ("ml", "0f3d", "token")
    assert (BEGUN.verdict, BEGUN.reason) == ("", "")


def test_it_tells_the_cluster_and_what_made_the_pod() -> None:
    pod = replace(POD, identity=replace(WHO, cluster="gpu-eu", owner="Job/train-resnet"))
    record = began(pod, API, NOON, "request-1").to_record()
    assert (record["cluster"], record["owner"]) == ("gpu-eu", "Job/train-resnet")


@pytest.mark.parametrize(
    ("verdict", "written"),
    [
        (
            GRANTED,
            {
                "verdict": "attach",
                "reason": "granted",
                "policy": "ml/p",
                "grant": 2,
                "credential": "ml/a",
            },
        ),
        (
            Refuse(Reason.PATH_NOT_GRANTED, ref("p")),
            {"verdict": "refuse", "reason": "path_not_granted", "policy": "ml/p", "grant": 0},
        ),
        (Refuse(Reason.MALFORMED_PATH), {"verdict": "refuse", "reason": "malformed_path"}),
        (PassThrough(Reason.BLOB_HOST), {"verdict": "pass_through", "reason": "blob_host"}),
        (
            ReadBody(GRANTED),
            {
                "verdict": "attach",
                "reason": "granted",
                "policy": "ml/p",
                "grant": 2,
                "credential": "ml/a",
            },
        ),
        (
            PassThrough(Reason.WOULD_ATTACH, GRANTED),
            {
                "verdict": "pass_through",
                "reason": "would_attach",
                "would": "granted",
                "policy": "ml/p",
                "grant": 2,
            },
        ),
        (
            PassThrough(Reason.WOULD_REFUSE, Refuse(Reason.PORT_NOT_GRANTED, ref("q", 1))),
            {
                "verdict": "pass_through",
                "reason": "would_refuse",
                "would": "port_not_granted",
                "policy": "ml/q",
                "grant": 1,
            },
        ),
        (
            PassThrough(Reason.WOULD_REFUSE, Refuse(Reason.MALFORMED_PATH)),
            {"verdict": "pass_through", "reason": "would_refuse", "would": "malformed_path"},
        ),
    ],
)
def test_every_verdict_is_written_with_its_rule(verdict: Verdict, written: dict[str, object]) -> None:
    assert changes(after(verdict)) == written


@pytest.mark.parametrize(("client", "seen"), [("absent", False), ("placeholder", False), ("foreign", True)])
def test_only_a_credential_that_is_not_ours_is_an_event(client: str, seen: bool) -> None:  # noqa: FBT001
    assert after(GRANTED, client=client).static_credential_seen is seen


def test_a_url_that_somebody_else_signed_holds_one() -> None:
    facts = replace(RequestFacts.of(S3, "GET", "/data/key"), signed_elsewhere=True)
    record = decided(
        BEGUN, PassThrough(Reason.PRESIGNED_ELSEWHERE), POLICIES.for_pod(WHO).rules_for(S3), facts
    )

    assert (record.verdict, record.static_credential_seen) == ("pass_through", True)


@pytest.mark.parametrize(
    ("target", "method", "action"),
    [
        ("/data/key", "GET", "s3:GetObject"),
        ("/data?list-type=2", "GET", "s3:ListBucket"),
        ("/data/key", "PATCH", ""),  # no operation
        ("/data/%2fkey", "GET", ""),  # no path that could be read
        ("/data/key?a=%0", "GET", ""),
    ],
)
def test_the_operation_is_named_where_the_catalogue_knows_it(target: str, method: str, action: str) -> None:
    record = after(Refuse(Reason.PIN_NOT_GRANTED), target, S3, method=method)

    assert (record.service, record.action) == ("s3", action)


def test_a_host_that_no_service_knows_has_no_service() -> None:
    assert after(GRANTED).service == ""


def test_a_later_refusal_leaves_what_was_granted() -> None:
    record = refused(after(GRANTED), Reason.UPSTREAM_FAILED)

    assert (record.verdict, record.reason) == ("refuse", "upstream_failed")
    assert (record.policy, record.grant, record.credential) == ("ml/p", 2, "ml/a")


def test_a_lease_is_named_by_its_id_alone() -> None:
    record = leased(after(GRANTED), lease_of(credential("a")))

    assert record == replace(after(GRANTED), lease_id="lease-of-a")
