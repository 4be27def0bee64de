from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from proxy.core.contract import BUNDLE_FILE, CA_FILE
from proxy.core.hosts import Hostname
from proxy.core.settings import TrustSettings
from proxy.edge import trust as module
from proxy.edge.authority import TrustProblem
from proxy.edge.trust import NoLeafError, PodTrust
from tests.pod_authorities import DAY, LIFETIME, POD, START, someones_root

HOST = Hostname("api.example.com")


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> object:
        return self.now


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    file = tmp_path / "roots.pem"
    file.write_bytes(someones_root("The Internet").public_bytes(Encoding.PEM))
    return file


@pytest.fixture
def settings(roots: Path) -> TrustSettings:
    return TrustSettings(LIFETIME, timedelta(hours=24), (), str(roots))


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(tmp_path: Path, settings: TrustSettings, clock: Clock) -> PodTrust | TrustProblem:
    (tmp_path / "ca").mkdir(exist_ok=True)
    return PodTrust.open(tmp_path / "state", tmp_path / "ca", settings, POD, clock)  # type: ignore[arg-type]


def trust_of(tmp_path: Path, settings: TrustSettings, clock: Clock) -> PodTrust:
    trust = opened(tmp_path, settings, clock)
    assert isinstance(trust, PodTrust), str(trust)
    return trust


def test_it_is_published_before_it_is_used(tmp_path: Path, settings: TrustSettings, clock: Clock) -> None:
    trust = trust_of(tmp_path, settings, clock)

    published = (tmp_path / "ca" / CA_FILE).read_bytes()
    assert trust.authority.certificate.public_bytes(Encoding.PEM) in published
    assert published in (tmp_path / "ca" / BUNDLE_FILE).read_bytes()
    assert b"PRIVATE" not in (tmp_path / "ca" / BUNDLE_FILE).read_bytes()
    assert len(list(trust.upstreams.certificates)) == 1


def test_it_is_the_same_after_a_restart(tmp_path: Path, settings: TrustSettings, clock: Clock) -> None:
    first = trust_of(tmp_path, settings, clock)

    second = trust_of(tmp_path, settings, clock)

    assert second.authority.certificate == first.authority.certificate


def test_leaves_are_made_for_one_host(tmp_path: Path, settings: TrustSettings, clock: Clock) -> None:
    trust = trust_of(tmp_path, settings, clock)

    leaf = trust.leaf_for(HOST)

    assert leaf.host == HOST
    assert trust.leaf_for(HOST) is leaf


def test_where_no_leaf_can_be_made_it_raises(tmp_path: Path, settings: TrustSettings, clock: Clock) -> None:
    trust = trust_of(tmp_path, settings, clock)

    with pytest.raises(NoLeafError):
        trust.leaf_for(Hostname("*.example.com"))


def test_it_is_renewed_in_time_with_the_same_key(
    tmp_path: Path, settings: TrustSettings, clock: Clock
) -> None:
    trust = trust_of(tmp_path, settings, clock)
    old, leaf = trust.authority, trust.leaf_for(HOST)
    assert trust.renew_when_due(START + DAY) is False
    assert trust.authority is old

    clock.now = old.ends - DAY
    assert trust.renew_when_due(clock.now) is True

    assert trust.authority.ends > old.ends
    assert trust.authority.certificate.public_key() == old.certificate.public_key()
    assert trust.leaf_for(HOST) is not leaf
    published = (tmp_path / "ca" / CA_FILE).read_bytes()
    assert trust.authority.certificate.public_bytes(Encoding.PEM) in published
    assert trust_of(tmp_path, settings, clock).authority.certificate == trust.authority.certificate


def test_a_renewal_that_cannot_be_published_is_told_and_changes_nothing(
    tmp_path: Path, settings: TrustSettings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust = trust_of(tmp_path, settings, clock)
    old = trust.authority
    problem = TrustProblem("ca", "cannot be written", "mount it")
    monkeypatch.setattr(module, "publish", lambda *_: problem)
    clock.now = old.ends - DAY

    assert trust.renew_when_due(clock.now) is problem

    assert trust.authority is old


# --- what can be in its way ------------------------------------------------------------------------------


def test_a_state_folder_that_cannot_be_written_is_told(
    tmp_path: Path, settings: TrustSettings, clock: Clock
) -> None:
    (tmp_path / "state").write_bytes(b"a file")

    assert isinstance(opened(tmp_path, settings, clock), TrustProblem)


def test_roots_that_cannot_be_read_are_told(tmp_path: Path, settings: TrustSettings, clock: Clock) -> None:
    Path(settings.roots_file or "").write_bytes(b"no certificate")

    problem = opened(tmp_path, settings, clock)

    assert isinstance(problem, TrustProblem)
    assert "roots.pem" in str(problem)


def test_a_trust_folder_that_cannot_be_written_is_told(
    tmp_path: Path, settings: TrustSettings, clock: Clock
) -> None:
    (tmp_path / "ca").write_bytes(b"a file")

    trust = PodTrust.open(tmp_path / "state", tmp_path / "ca", settings, POD, clock)  # type: ignore[arg-type]

    assert isinstance(trust, TrustProblem)
