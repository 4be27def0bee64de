import asyncio
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from proxy.core.evidence import Evidence, Unverified
from proxy.core.settings import IdentitySettings, PodSettings
from proxy.core.structs import replace
from proxy.edge.attestation import FIRST_WAIT, LAST_WAIT, Attestation, Attested
from proxy.edge.issuer_keys import IssuerKeys, NoKeys
from proxy.tokens.faults import TokenFaultCode
from proxy.tokens.jwks import KeySet, read_jwks
from tests.kubelet_volume import KubeletVolume
from tests.lease_world import MovingClock, TestLog
from tests.pod_tokens import ISSUER, TokenIssuer, jwks
from tests.real_tokens import JWKS, issued, real_claims, real_token

UID = "0f3d8a52-1111-4222-8333-444455556666"
POD = PodSettings(
    "ml",
    "trainer",
    "train-0",
    UID,
    "gpu-7",
    "c1",
    labels_file=None,
    owner_file=None,
    images_file=None,
    wants_gpu=False,
)
SETTINGS = IdentitySettings("podkey", "", None, "https://cluster.example.com", None, None)


class Keys:
    """An issuer's published keys. `missing` is why there are none."""

    fresh_seconds = 3600.0

    def __init__(self, *issuers: TokenIssuer) -> None:
        self.issuers = issuers
        self.issuer = ISSUER
        self.missing = ""
        self.asked = 0

    async def fetch(self) -> IssuerKeys | NoKeys:
        self.asked += 1
        if self.missing:
            return NoKeys(self.missing)
        keys = read_jwks(jwks(*self.issuers))
        assert isinstance(keys, KeySet)
        return IssuerKeys(self.issuer, keys)


class World:
    def __init__(self, folder: Path) -> None:
        self.file = folder / "podkey"
        self.clock = MovingClock()
        self.issuer = TokenIssuer()
        self.keys = Keys(self.issuer)
        self.log = TestLog()
        self.published: list[Attested] = []
        self.counted: list[str] = []
        self.attestation = Attestation(
            self.file,
            self.keys,
            SETTINGS,
            POD,
            self.clock,
            self.published.append,
            self.log,
            self.counted.append,
        )

    def issue(self, issuer: TokenIssuer | None = None, **who: Any) -> None:
        self.file.write_bytes((issuer or self.issuer).token(self.clock.now(), **who))

    def step(self, after: float = 0.0) -> Evidence | Unverified:
        self.clock.seconds += after
        asyncio.run(self.attestation.step())
        return self.attestation.attested.proof

    def proved(self, after: float = 0.0) -> Evidence:
        proof = self.step(after)
        assert isinstance(proof, Evidence), proof
        return proof

    def doubted(self, after: float = 0.0) -> str:
        proof = self.step(after)
        assert isinstance(proof, Unverified), proof
        return proof.message


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_before_the_first_look_nothing_is_proved(world: World) -> None:
    proof = world.attestation.attested.proof

    assert proof == Unverified("the pod's token has not been looked at yet")
    assert world.published == []


def test_a_token_of_this_pod_proves_it(world: World) -> None:
    world.issue()
    proof = world.proved()

    assert (proof.issuer, proof.key_id, proof.pod_uid) == (ISSUER, world.issuer.key_id, UID)
    assert [attested.proof for attested in world.published] == [proof]
    verified = world.published[0].verified
    assert verified is not None
    assert (verified.namespace, verified.pod_name, verified.node) == ("ml", "train-0", "gpu-7")
    assert world.counted == ["verified"]


def test_the_token_appears_in_no_line_of_the_log(world: World) -> None:
    world.issue()
    world.proved()

    for part in world.file.read_text().split("."):
        assert part not in world.log.text


def test_a_token_that_stays_is_not_verified_again(world: World) -> None:
    world.issue()
    for _ in range(3):
        world.proved(1)

    assert (world.keys.asked, len(world.published)) == (1, 1)


def test_the_kubelets_new_token_is_used_at_the_next_look(world: World) -> None:
    world.issue()
    first = world.proved()
    world.clock.seconds += 3600 * 0.8
    world.issue()
    second = world.proved()

    assert second.token_hash != first.token_hash
    assert second.expires == first.expires + timedelta(seconds=3600 * 0.8)
    assert world.keys.asked == 1


def test_a_token_that_is_not_renewed_proves_nothing_after_its_end(world: World) -> None:
    world.issue()
    world.proved()

    # The last minute is the skew that a clock may have.
    assert "ended" in world.doubted(3600 + 61) or "expired" in world.log.text
    assert world.counted[-1] == "expired"


@pytest.mark.parametrize(
    ("who", "code"),
    [
        ({"pod": "other-0"}, TokenFaultCode.WRONG_POD),
        ({"uid": "11111111-1111-4222-8333-444455556666"}, TokenFaultCode.WRONG_POD),
        ({"namespace": "other"}, TokenFaultCode.WRONG_NAMESPACE),
        ({"account": "other"}, TokenFaultCode.WRONG_SERVICE_ACCOUNT),
        ({"node": "gpu-8"}, TokenFaultCode.WRONG_NODE),
        ({"audience": "vault"}, TokenFaultCode.WRONG_AUDIENCE),
        ({"lifetime": timedelta(hours=-1)}, TokenFaultCode.CLAIMS_MALFORMED),
    ],
)
def test_another_token_ends_the_proof_at_once(
    world: World, who: dict[str, Any], code: TokenFaultCode
) -> None:
    world.issue()
    world.proved()
    world.issue(**who)

    assert world.doubted()
    assert world.counted == ["verified", code.value]
    assert world.published[-1].verified is None
    # And this pod's own token proves it again.
    world.issue()
    world.proved()


def test_a_fault_is_told_once_and_not_each_second(world: World) -> None:
    world.issue(pod="other-0")
    for _ in range(3):
        world.doubted(1)

    assert (world.counted, len(world.published)) == (["wrong_pod"], 1)
    assert len([event for event in world.log.events if event.startswith("nobody proves")]) == 1


def test_a_token_of_another_cluster_is_refused(world: World) -> None:
    world.issue()
    world.proved()
    world.issue(TokenIssuer())

    # Its key is unknown: keys are asked for once more, and the last proof counts meanwhile.
    world.proved(60)
    assert world.counted[-1] == "unknown_key"
    assert world.keys.asked == 2
    assert "unknown" in world.doubted(3600).lower() or "names the key" in world.log.text


def test_a_new_signing_key_is_found_when_a_token_names_it(world: World) -> None:
    world.issue()
    world.proved()
    fresh = TokenIssuer()
    world.keys.issuers = (fresh, world.issuer)
    world.issue(fresh)

    assert world.proved(60).key_id == fresh.key_id
    assert world.keys.asked == 2


def test_a_key_that_was_withdrawn_proves_nothing_when_the_keys_are_looked_at_again(world: World) -> None:
    world.issue(lifetime=timedelta(hours=4))
    world.proved()
    world.keys.issuers = (TokenIssuer(),)

    world.proved(3599)
    assert "names the key" in world.doubted(1)
    assert world.counted == ["verified", "unknown_key"]


def test_keys_that_cannot_be_fetched_are_asked_for_less_and_less_often(world: World) -> None:
    world.keys.missing = "the issuer's keys cannot be fetched: cluster.example.com refused the connection"
    world.issue()
    asked_at = []

    async def ten_minutes() -> None:
        for second in range(600):
            before = world.keys.asked
            world.clock.seconds += 1
            await world.attestation.step()
            assert world.attestation.attested.proof == Unverified(world.keys.missing)
            if world.keys.asked > before:
                asked_at.append(second)

    asyncio.run(ten_minutes())
    gaps = [later - earlier for earlier, later in pairwise(asked_at)]

    assert gaps == sorted(gaps)
    assert (gaps[0], gaps[-1]) == (FIRST_WAIT, LAST_WAIT)
    assert world.counted == ["no_keys"]


def test_keys_that_cannot_be_renewed_count_on(world: World) -> None:
    world.issue(lifetime=timedelta(hours=4))
    world.proved()
    world.keys.missing = "the issuer's keys cannot be fetched: too slow"

    world.proved(3600)
    assert "the issuer's keys could not be renewed, the old ones count" in world.log.events
    assert world.counted == ["verified"]


def test_a_new_token_that_cannot_be_verified_for_want_of_keys_leaves_the_last_proof_until_it_ends(
    world: World,
) -> None:
    world.issue()
    first = world.proved()
    fresh = TokenIssuer()
    world.keys.missing = "the issuer's keys cannot be fetched: too slow"
    world.clock.seconds += 2880
    world.issue(fresh)

    assert world.proved() == first
    assert world.doubted(721)
    world.keys.missing = ""
    world.keys.issuers = (fresh,)
    assert world.proved(LAST_WAIT).key_id == fresh.key_id


def test_a_file_that_is_gone_is_named_with_the_fix(world: World) -> None:
    message = world.doubted()

    assert str(world.file) in message
    assert "does not exist" in message
    assert "audience `podkey`" in message
    assert (world.counted, world.keys.asked) == (["unreadable"], 0)


def test_a_file_that_goes_leaves_the_proof_until_it_ends(world: World) -> None:
    world.issue()
    first = world.proved()
    world.file.unlink()

    assert world.proved(1) == first
    assert world.doubted(3600)


def test_two_megabytes_are_no_token(world: World) -> None:
    world.file.write_bytes(b"a" * 2 * 1024 * 1024)

    assert "is larger than 16384 bytes" in world.doubted()


def test_an_issuer_that_changes_its_name_changes_whose_tokens_count(world: World) -> None:
    world.keys.issuer = "https://another.example.com"
    world.issue()

    world.doubted()
    assert world.counted == ["wrong_issuer"]


def test_it_looks_every_second(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.issue()
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(world.attestation.run())

    assert slept == [1.0, 1.0, 1.0]


def test_what_the_downward_api_does_not_say_the_token_does(world: World, tmp_path: Path) -> None:
    bare = replace(POD, pod_name="", pod_uid="", node="")
    attestation = Attestation(
        world.file, world.keys, SETTINGS, bare, world.clock, world.published.append, world.log
    )
    world.issue()
    asyncio.run(attestation.step())

    verified = attestation.attested.verified
    assert verified is not None
    assert (verified.pod_name, verified.pod_uid) == ("train-0", UID)


def test_a_clock_that_is_turned_back_does_not_make_a_token_last(world: World) -> None:
    world.issue(lifetime=timedelta(seconds=600))
    world.proved()
    world.clock.turned = -300.0

    assert world.proved(599)
    assert "the token ended" in world.doubted(1)
    # Nor does it prove anything when it is looked at again; the next token does.
    assert "the token ended" in world.doubted(60)
    world.issue()
    world.proved()


def test_keys_that_could_not_be_renewed_for_a_day_are_nobodys(world: World) -> None:
    world.issue(lifetime=timedelta(hours=24))
    world.proved()
    world.keys.missing = "the issuer's keys cannot be fetched: too slow"
    world.issue(lifetime=timedelta(hours=48))

    assert world.proved(86_399)
    world.issue(lifetime=timedelta(hours=1))
    world.step(1)
    assert world.counted[-1] == "no_keys"


def test_a_token_that_is_too_large_ends_the_proof(world: World) -> None:
    world.issue()
    world.proved()
    world.file.write_bytes(b"a" * 2 * 1024 * 1024)

    assert "is larger than 16384 bytes" in world.doubted()
    assert world.counted == ["verified", "too_large"]


def test_a_token_proves_nothing_from_its_end_on_although_a_verifier_allows_for_skew(world: World) -> None:
    world.issue()
    world.proved()

    assert "the token ended at" in world.doubted(3600)
    for _ in range(3):
        world.doubted(1)
    assert world.counted == ["verified", "expired"]


def test_it_tells_when_the_token_was_looked_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def sleep(_seconds: float) -> None:
        raise asyncio.CancelledError

    async def first_look() -> None:
        assert not world.attestation.looked.is_set()
        with pytest.raises(asyncio.CancelledError):
            await world.attestation.run()
        assert world.attestation.looked.is_set()

    monkeypatch.setattr(asyncio, "sleep", sleep)
    asyncio.run(first_look())


def test_a_clock_that_was_ahead_and_is_put_right_ends_no_proof(world: World) -> None:
    world.issue()
    world.clock.turned = 3000.0
    world.proved()
    world.clock.turned = 0.0

    world.proved(660)
    world.proved(3600 - 661)
    assert "the token ended" in world.doubted(1)


def test_a_real_tokens_renewal_is_followed_through_each_step_of_the_kubelet(tmp_path: Path) -> None:
    """The tokens, the keys, the times and the order of renames are those of a recorded 1.36 cluster."""
    real = real_claims("rotated-1")
    who = real["kubernetes.io"]
    pod = replace(
        POD,
        namespace=who["namespace"],
        service_account=who["serviceaccount"]["name"],
        pod_name=who["pod"]["name"],
        pod_uid=who["pod"]["uid"],
        node=who["node"]["name"],
    )
    keys, clock, seen = Keys(), MovingClock(), []
    keys.fetch = published  # type: ignore[method-assign]
    clock.turned = issued("rotated-1").timestamp() - clock.wall()
    volume = KubeletVolume(tmp_path / "tokens", {"podkey": real_token("rotated-1")})
    settings = replace(SETTINGS, audience="sts.amazonaws.com")
    attestation = Attestation(volume.folder / "podkey", keys, settings, pod, clock, lambda _: None, TestLog())

    def look(step: str) -> None:
        asyncio.run(attestation.step())
        proof = attestation.attested.proof
        assert isinstance(proof, Evidence), (step, proof)
        seen.append((step, proof.issued == issued("rotated-2")))

    look("before")
    clock.seconds += (issued("rotated-2") - issued("rotated-1")).total_seconds()
    volume.swap({"podkey": real_token("rotated-2")}, between=look)

    assert seen == [
        ("before", False),
        ("written", False),
        ("linked", False),
        ("swapped", True),
        ("named", True),
        ("removed", True),
    ]


async def published() -> IssuerKeys:
    keys = read_jwks(JWKS)
    assert isinstance(keys, KeySet)
    return IssuerKeys(ISSUER, keys)
