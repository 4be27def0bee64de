import asyncio
from pathlib import Path

import pytest

from proxy.core.credentials import CredentialRef, CredentialSource
from proxy.core.lease import Lease, LeaseReply, NoLease
from proxy.core.mounted_sources import MountedSecret
from proxy.core.parts import Part
from proxy.edge import leases as module
from proxy.edge.leases import FRESH_SECONDS, MAX_SECRET_BYTES, SecretLeases
from tests.canary import Canary
from tests.kubelet_volume import KubeletVolume
from tests.lane_world import NOON, Clock

REF = CredentialRef("ml", "a")


def source(name: str = "a", secret: str = "key", **keys: str) -> CredentialSource:
    parts = {Part.TOKEN: "k"} if not keys else {Part[part.upper()]: key for part, key in keys.items()}
    return CredentialSource("ml", name, MountedSecret(secret, tuple(parts.items())))


class House:
    def __init__(self, folder: Path, token: str) -> None:
        self.folder = folder
        self.clock = Clock()
        self.counted: list[str] = []
        self.volume = KubeletVolume(folder / "key", {"k": token.encode()})
        self.leases = SecretLeases(folder, self.clock, self.counted.append)
        self.use([source()])

    def use(self, sources: list[CredentialSource]) -> None:
        self.sources = {one.ref: one for one in sources}
        self.leases.use(sources)

    def ask(self, ref: CredentialRef = REF) -> LeaseReply:
        return asyncio.run(self.leases.lease(self.sources[ref]))

    def lease(self) -> Lease:
        reply = self.ask()
        assert isinstance(reply, Lease)
        return reply

    def later(self, seconds: float = FRESH_SECONDS) -> None:
        self.clock.seconds += seconds


@pytest.fixture
def token(canary: Canary) -> str:
    return canary.secret("token")


@pytest.fixture
def house(tmp_path: Path, token: str) -> House:
    return House(tmp_path, token)


def test_a_lease_holds_what_the_secret_holds(house: House, token: str) -> None:
    lease = house.lease()

    assert lease.parts[Part.TOKEN].reveal() == token.encode()
    assert (lease.credential, lease.issued, lease.expires) == (REF, NOON, None)
    assert token not in repr(lease)
    assert house.counted == ["acquired"]
    assert (house.leases.live, house.leases.failed) == (1, 0)


def test_within_a_second_nothing_is_read_again(house: House) -> None:
    first = house.lease()
    house.volume.swap({"k": b"another token of the same secret"})

    house.later(FRESH_SECONDS / 2)
    assert house.lease() is first
    assert house.counted == ["acquired"]

    house.later(FRESH_SECONDS / 2)
    assert house.lease().parts[Part.TOKEN].reveal() == b"another token of the same secret"


def test_the_same_content_is_the_same_lease(house: House, token: str) -> None:
    first = house.lease()
    house.volume.swap({"k": token.encode()})
    house.later()

    assert house.lease() is first


def test_other_content_is_another_lease(house: House, token: str) -> None:
    first = house.lease()
    house.volume.swap({"k": b"another token of the same secret"})
    house.later()
    second = house.lease()
    assert second.id != first.id

    house.volume.swap({"k": token.encode()})
    house.later()

    assert house.lease().id == first.id


def test_the_id_tells_nothing_of_the_value_to_another_process(
    house: House, tmp_path: Path, token: str
) -> None:
    other = SecretLeases(tmp_path, Clock())
    other.use([source()])

    reply = asyncio.run(other.lease(source()))

    assert isinstance(reply, Lease)
    assert reply.id != house.lease().id
    assert len(reply.id) == 12


def test_two_sources_of_one_secret_have_two_leases(house: House) -> None:
    house.use([source(), source("b")])

    first, second = house.ask(), house.ask(CredentialRef("ml", "b"))

    assert isinstance(first, Lease)
    assert isinstance(second, Lease)
    assert first.id != second.id


def test_parts_of_one_secret_come_from_one_moment(house: House) -> None:
    house.volume.swap({"u": b"user", "p": b"password-one"})
    house.use([source(username="u", password="p")])

    lease = house.lease()

    assert {part: value.reveal() for part, value in lease.parts.items()} == {
        Part.USERNAME: b"user",
        Part.PASSWORD: b"password-one",
    }


# --- without one -----------------------------------------------------------------------------------------


def why(house: House) -> str:
    reply = house.ask()
    assert isinstance(reply, NoLease)
    assert house.counted[-1:] == ["failed"]
    assert (house.leases.live, house.leases.failed) == (0, 1)
    return reply.message


def test_a_secret_that_is_not_mounted_is_told(house: House) -> None:
    house.use([source(secret="missing")])

    assert "missing" in why(house)
    assert "not mounted" in why(house)


def test_a_key_that_is_not_in_the_secret_is_told(house: House) -> None:
    house.use([source(token="other")])

    assert "`other`" in why(house)


def test_an_empty_key_is_told(house: House) -> None:
    house.volume.swap({"k": b""})

    assert "`k`" in why(house)
    assert "empty" in why(house)


def test_a_key_that_is_no_file_is_told(house: House, tmp_path: Path) -> None:
    (tmp_path / "odd" / "k").mkdir(parents=True)
    house.use([source(secret="odd")])

    assert "not a regular file" in why(house)


def test_a_secret_that_is_no_folder_is_told(house: House, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    house.use([source(secret="file")])

    assert "Not a directory" in why(house)


def test_a_key_that_is_too_large_is_told_and_not_held(house: House) -> None:
    house.volume.swap({"k": b"x" * (MAX_SECRET_BYTES + 10)})

    assert "larger" in why(house)


def test_a_failure_lasts_no_longer_than_a_lease(house: House, token: str) -> None:
    house.volume.swap({"k": b""})
    assert isinstance(house.ask(), NoLease)
    house.volume.swap({"k": token.encode()})

    assert isinstance(house.ask(), NoLease)
    house.later()
    assert isinstance(house.ask(), Lease)


def test_what_another_policy_left_behind_is_forgotten(house: House) -> None:
    house.lease()

    house.leases.use([])

    assert house.leases.live == 0


def test_another_source_of_the_same_name_is_another(house: House) -> None:
    """A policy may re-point a name; whoever asks for the old source does not get the new one's value."""
    house.lease()

    reply = asyncio.run(house.leases.lease(source(secret="missing")))

    assert isinstance(reply, NoLease)


def test_a_reader_that_is_refused_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module, "read_snapshot", refused)

    assert "Permission denied" in why(house)
