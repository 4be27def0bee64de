"""Leaves: one name each, never older than they may be, never more than are allowed."""

import copy
import pickle
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from OpenSSL import SSL

from proxy.core.hosts import Hostname
from proxy.edge.authority import PodAuthority, TrustProblem
from proxy.edge.leaves import MAX_LEAF_LIFETIME, Leaf, Leaves
from proxy.x509.certificates import CLOCK_SKEW, has_key, key_pem
from tests.pod_authorities import (
    DAY,
    LIFETIME,
    START,
    authority_in,
    server_context,
    shake_hands,
    verifies,
)

HOST = Hostname("api.test")
HOUR = timedelta(hours=1)
LONG_HOST = Hostname(".".join(["a" * 61] * 4) + ".tests")


class Clock:
    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authority(tmp_path: Path) -> PodAuthority:
    return authority_in(tmp_path / "ca")


@pytest.fixture
def leaves(authority: PodAuthority, clock: Clock) -> Leaves:
    return Leaves(authority, clock)


def leaf_of(leaves: Leaves, host: str = HOST) -> Leaf:
    leaf = leaves.leaf_for(Hostname(host))
    assert isinstance(leaf, Leaf), str(leaf)
    return leaf


# --- one leaf ------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [HOST, "localhost", "xn--bcher-kva.test", "under_score.test", LONG_HOST])
def test_a_leaf_names_its_host_and_nothing_else(leaves: Leaves, authority: PodAuthority, host: str) -> None:
    leaf = leaf_of(leaves, host)
    names = leaf.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert leaf.host == host
    assert list(names) == [x509.DNSName(host)]
    assert verifies(leaf, [authority.certificate], START)


def test_a_leaf_lives_for_a_day_and_began_a_little_ago(leaves: Leaves, clock: Clock) -> None:
    clock.now += timedelta(microseconds=999_999)
    leaf = leaf_of(leaves)

    assert leaf.begins == START - CLOCK_SKEW == leaf.certificate.not_valid_before_utc
    assert leaf.ends == leaf.begins + MAX_LEAF_LIFETIME == leaf.certificate.not_valid_after_utc


@pytest.mark.parametrize(
    "host",
    [
        "*.test",
        "*",
        "",
        "api.test.",
        "API.test",
        "127.0.0.1",
        "::1",
        "a b.test",
        "bücher.test",
        "api.test\x00.evil.test",
        "a" * 64 + ".test",
        LONG_HOST + "x",
    ],
)
def test_what_is_no_name_of_one_host_gets_no_leaf(leaves: Leaves, host: str) -> None:
    problem = leaves.leaf_for(Hostname(host))

    assert isinstance(problem, TrustProblem)
    assert problem.reason == "is no host name"
    assert (leaves.minted, leaves.cached) == (0, 0)


def test_all_leaves_share_a_key_that_is_not_the_authoritys(leaves: Leaves, authority: PodAuthority) -> None:
    one, two = leaf_of(leaves, "one.test"), leaf_of(leaves, "two.test")

    assert one.key is two.key
    assert has_key(one.certificate, one.key)
    assert not has_key(authority.certificate, one.key)


def test_a_process_has_a_leaf_key_of_its_own(authority: PodAuthority, clock: Clock) -> None:
    one, two = leaf_of(Leaves(authority, clock)), leaf_of(Leaves(authority, clock))

    assert not has_key(one.certificate, two.key)


# --- kept ----------------------------------------------------------------------------------------


def test_a_leaf_is_kept_until_a_quarter_of_its_life_is_left(leaves: Leaves, clock: Clock) -> None:
    first = leaf_of(leaves)
    clock.now = first.ends - 6 * HOUR - timedelta(seconds=1)
    assert leaf_of(leaves) is first

    clock.now += timedelta(seconds=1)
    second = leaf_of(leaves)
    assert second is not first
    assert second.ends == clock.now - CLOCK_SKEW + DAY
    assert (leaves.minted, leaves.cached) == (2, 1)


def test_a_clock_that_is_set_back_gets_a_leaf_that_has_begun(leaves: Leaves, clock: Clock) -> None:
    first = leaf_of(leaves)
    clock.now -= CLOCK_SKEW
    assert leaf_of(leaves) is first

    clock.now -= timedelta(seconds=1)
    assert leaf_of(leaves).begins < clock.now


def test_the_cache_drops_the_leaf_that_was_not_used_for_longest(
    authority: PodAuthority, clock: Clock
) -> None:
    leaves = Leaves(authority, clock, max_cached=2)
    one, two = leaf_of(leaves, "one.test"), leaf_of(leaves, "two.test")
    assert leaf_of(leaves, "one.test") is one
    leaf_of(leaves, "three.test")

    assert leaves.cached == 2
    assert leaf_of(leaves, "one.test") is one
    assert leaf_of(leaves, "two.test") is not two
    assert leaves.minted == 4


def test_any_number_of_names_leaves_the_cache_within_its_bound(authority: PodAuthority, clock: Clock) -> None:
    leaves = Leaves(authority, clock, max_cached=16)
    for number in range(100):
        leaf_of(leaves, f"bucket-{number}.s3.test")

    assert (leaves.minted, leaves.cached) == (100, 16)


def test_tells_which_leaf_ends_first(leaves: Leaves, clock: Clock) -> None:
    assert leaves.earliest_expiry is None
    first = leaf_of(leaves, "one.test")
    clock.now += HOUR
    leaf_of(leaves, "two.test")

    assert leaves.earliest_expiry == first.ends


# --- the authority's end -------------------------------------------------------------------------


def test_a_leaf_never_outlives_its_authority_and_is_then_made_once(
    leaves: Leaves, authority: PodAuthority, clock: Clock
) -> None:
    clock.now = authority.ends - 2 * HOUR
    leaf = leaf_of(leaves)
    assert leaf.ends == authority.ends

    for minutes in (10, 100, 119):
        clock.now = authority.ends - 2 * HOUR + timedelta(minutes=minutes)
        assert leaf_of(leaves) is leaf
    assert leaves.minted == 1


def test_an_authority_that_has_ended_signs_nothing(
    leaves: Leaves, authority: PodAuthority, clock: Clock
) -> None:
    clock.now = authority.ends - HOUR
    leaf_of(leaves)
    clock.now = authority.ends

    assert leaves.leaf_for(HOST) == TrustProblem(
        "podkey CA for training/llama-0",
        "has ended at 2030-03-31 23:55:00+00:00",
        "restart the sidecar, which renews it",
    )
    assert leaves.cached == 0


def test_goes_on_with_a_renewed_authority_and_the_same_key(
    leaves: Leaves, authority: PodAuthority, clock: Clock
) -> None:
    clock.now = authority.ends - HOUR
    old = leaf_of(leaves)
    leaves.use(authority.renewed(now=clock.now, lifetime=LIFETIME))
    new = leaf_of(leaves)

    assert new.key is old.key
    assert new.ends > authority.ends
    assert verifies(new, [authority.certificate], clock.now)


@pytest.mark.parametrize("lifetime", [timedelta(), CLOCK_SKEW, MAX_LEAF_LIFETIME + timedelta(seconds=1)])
def test_takes_no_lifetime_that_makes_no_sense(
    authority: PodAuthority, clock: Clock, lifetime: timedelta
) -> None:
    with pytest.raises(ValueError, match="a leaf lives for more than 0:05:00 and at most 1 day"):
        Leaves(authority, clock, lifetime=lifetime)


# --- TLS libraries -------------------------------------------------------------------------------


def strict_client(authority: PodAuthority) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.pem.decode())
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT  # a default of Python 3.13
    return context


@pytest.fixture
def todays(tmp_path: Path) -> tuple[PodAuthority, Leaves]:
    """Of today: the standard library verifies by the real clock."""
    now = datetime.now(UTC)
    authority = authority_in(tmp_path / "today", now)
    return authority, Leaves(authority, lambda: now)


@pytest.mark.parametrize("host", [HOST, "xn--bcher-kva.test", LONG_HOST])
def test_python_accepts_a_leaf_for_its_host_as_strictly_as_it_can(
    tmp_path: Path, todays: tuple[PodAuthority, Leaves], host: str
) -> None:
    authority, leaves = todays
    leaf = leaf_of(leaves, host)
    client = shake_hands(strict_client(authority), server_context(leaf, tmp_path), host)

    certificate = client.getpeercert()
    assert certificate is not None
    assert certificate["subjectAltName"] == (("DNS", host),)


def test_python_refuses_a_leaf_for_another_host(tmp_path: Path, todays: tuple[PodAuthority, Leaves]) -> None:
    authority, leaves = todays
    server = server_context(leaf_of(leaves), tmp_path)

    for host in ("other.test", "sub.api.test", "test"):
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            shake_hands(strict_client(authority), server, host)


def test_python_refuses_a_leaf_of_another_pod(tmp_path: Path, todays: tuple[PodAuthority, Leaves]) -> None:
    _, leaves = todays
    other = authority_in(tmp_path / "other", datetime.now(UTC))

    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        shake_hands(strict_client(other), server_context(leaf_of(leaves), tmp_path), HOST)


def test_pyopenssl_takes_the_objects_as_they_are(leaves: Leaves) -> None:
    leaf = leaf_of(leaves)
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(leaf.certificate)
    context.use_privatekey(leaf.key)

    context.check_privatekey()


# --- the key is nobody's business ----------------------------------------------------------------


def test_no_text_of_a_leaf_holds_its_key(leaves: Leaves) -> None:
    leaf = leaf_of(leaves)
    value = leaf.key.private_numbers().private_value
    parts = (str(value), f"{value:x}", "PRIVATE", key_pem(leaf.key).decode().splitlines()[1])
    texts = [repr(leaf), str(leaf), repr(leaves)]

    assert not [text for text in texts for part in parts if part in text]
    assert repr(leaves) == "Leaves(cached=1, minted=1)"
    assert leaf.key_pem() == key_pem(leaf.key)


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_leaves_are_not_pickled_or_copied(leaves: Leaves, duplicate: Callable[[object], object]) -> None:
    for thing in (leaf_of(leaves), leaves):
        with pytest.raises(TypeError, match="private key"):
            duplicate(thing)
