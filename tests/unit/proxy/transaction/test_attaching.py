"""Credentials that go onto a request as they are."""

from base64 import b64encode

import pytest

from proxy.core.credentials import CredentialRef, RegistryToken
from proxy.core.lease import Lease, NoLease
from proxy.core.parts import Part
from proxy.core.reasons import Reason
from proxy.core.secret import Secret
from proxy.core.structs import replace
from proxy.documents.problems import ProblemCode
from proxy.transaction.engine import open_request
from proxy.transaction.opening import Asked, Forward
from proxy.transaction.steps import WantLease
from tests.judge_world import CATALOGUE, NOON, index_of, policy
from tests.signed_world import ANY_POD, FOREIGN, OWNER, POD, asked
from tests.transaction_world import API, drive, every_word, head, lease_of, refused, values_of

REGISTRY = f"https://{OWNER}.dkr.ecr.eu-west-1.amazonaws.com"
TOKEN = "a-token-of-the-registry" * 4


def registry_lease(ref: CredentialRef) -> Lease:
    parts = {Part.USERNAME: Secret(b"AWS"), Part.PASSWORD: Secret(TOKEN.encode())}
    return Lease("lease-of-registry", ref, parts, NOON)


@pytest.mark.parametrize(
    ("url", "region"),
    [
        (f"{REGISTRY}/v2/", "eu-west-1"),
        (f"{REGISTRY}/v2/team/app/manifests/latest", "eu-west-1"),
        (f"https://{OWNER}.dkr.ecr-fips.us-gov-west-1.amazonaws.com/v2/", "us-gov-west-1"),
        (f"https://{OWNER}.dkr.ecr.cn-north-1.amazonaws.com.cn/v2/", "cn-north-1"),
        (f"https://{OWNER}.dkr-ecr.eu-west-1.on.aws/v2/", "eu-west-1"),
    ],
)
def test_a_registry_gets_a_token_of_its_region_and_no_signature(url: str, region: str) -> None:
    foreign = b64encode(f"AWS:{FOREIGN.secret_access_key}".encode()).decode()
    what, at = asked(url, ("Authorization", f"Basic {foreign}"))
    driven = drive(what, at, POD, registry_lease)

    assert driven.wants == (WantLease(CredentialRef("ml", "aws"), RegistryToken(region)),)
    assert isinstance(driven.opening, Forward)
    sent = driven.opening
    assert values_of(sent, "authorization") == ["Basic " + b64encode(f"AWS:{TOKEN}".encode()).decode()]
    assert foreign not in every_word(sent)
    assert sent.record.static_credential_seen
    assert TOKEN.encode() in sent.forms
    assert not sent.is_timed


def test_a_registry_that_does_not_say_where_it_is_has_no_token() -> None:
    entry = """---
apiVersion: podkey.io/v1alpha1
kind: CatalogueEntry
metadata: {name: registry}
spec:
  title: A registry
  summary: Of images.
  endpoints: [{hosts: [registry.example.com]}]
  attach: [{ecrToken: {}}]
"""
    # `podkey check` says so, too.
    text = policy("{service: registry, credential: aws}") + entry
    pod = replace(POD, policies=index_of(text, CATALOGUE, frozenset({ProblemCode.ATTACH_MISMATCH})))
    what, at = asked("https://registry.example.com/v2/")
    opening = refused(what, at, pod, registry_lease)

    assert drive(what, at, pod, registry_lease).wants == ()
    assert opening.refusal.reason is Reason.CREDENTIAL_UNUSABLE
    assert "does not say in which region its registry is" in opening.refusal.message


def test_a_registry_without_a_token_is_refused() -> None:
    what, at = asked(f"{REGISTRY}/v2/")
    opening = refused(what, at, POD, lambda ref: NoLease(ref, "ECR said no"))

    assert opening.refusal.reason is Reason.CREDENTIAL_UNAVAILABLE
    assert "ECR said no" in opening.refusal.message


def test_a_reply_that_is_no_lease_attaches_nothing() -> None:
    steps = open_request(POD_OF_API, API, head(), NOON, "request-1")
    assert isinstance(next(steps), WantLease)
    with pytest.raises(StopIteration) as end:
        steps.send(b"a body")

    opening = end.value.value
    assert opening.refusal.reason is Reason.CREDENTIAL_UNAVAILABLE
    assert "no credential was fetched" in opening.refusal.message


POD_OF_API = replace(POD, policies=index_of(policy("{hosts: [api.example.com], credential: a}"), CATALOGUE))


def test_another_one_that_says_the_same_travels_with_the_lease_of_its_own_time() -> None:
    first = drive(head()).opening
    assert isinstance(first, Forward)
    again, ref = first.again, CredentialRef("ml", "a")
    assert again is not None
    leases = [lease_of(ref, value) for value in ("the-first-token", "the-second-token")]

    def opened(number: int, lease: Lease) -> Forward:
        record = ANY_POD.proved.changed(request_id=f"request-{number}")
        found = again.opened(Asked(ANY_POD, API, record.request_id, NOON), record, lease, NOON)
        assert isinstance(found, Forward)
        return found

    found = [opened(number, lease) for number, lease in enumerate([*leases, *leases])]

    assert [values_of(one, "authorization") for one in found] == [
        ["Bearer the-first-token"],
        ["Bearer the-second-token"],
    ] * 2
    assert [one.record.request_id for one in found] == [f"request-{number}" for number in range(4)]
    assert found[0].forms == found[2].forms != found[1].forms == found[3].forms


def test_what_was_attached_of_this_lease_is_known() -> None:
    first = drive(head()).opening
    assert isinstance(first, Forward)
    again, ref = first.again, CredentialRef("ml", "a")
    assert again is not None
    lease, other = lease_of(ref, "one-long-token"), lease_of(ref, "one-long-token")
    assert again.known(ANY_POD, lease, NOON) is None

    opened = again.opened(Asked(ANY_POD, API, "request-2", NOON), first.record, lease, NOON)

    assert again.known(ANY_POD, lease, NOON) == opened
    assert again.known(ANY_POD, other, NOON) is None
