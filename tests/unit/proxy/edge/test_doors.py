"""The listeners of one sidecar, on ports of the loopback that nobody else uses."""

import asyncio
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from proxy.core.arrival import LaneName
from proxy.core.contract import ENDPOINTS_FILE
from proxy.core.services import Catalogue
from proxy.core.settings import Capture, ProxySettings
from proxy.documents.settings import read_settings
from proxy.edge import doors as module
from proxy.edge.doors import Doors
from proxy.edge.endpoints import TOKEN_FILE, BoundEndpoint, EndpointDoor
from proxy.edge.metrics import Metrics
from proxy.edge.policy_state import LoadedPolicy, PolicyFolder, PolicyState
from proxy.edge.reception import Reception
from proxy.edge.recorder import EdgeRecorder
from proxy.edge.routing import Lanes
from proxy.edge.trust import PodTrust
from proxy.lanes.interface import Lane
from proxy.lanes.late import LateLane
from tests.judge_world import NOON, POD, SOURCES, policy
from tests.lane_world import Clock, Internet, World
from tests.lease_world import TestLog


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("internet") / "roots.pem"
    file.write_bytes(Internet().root.public_bytes(Encoding.PEM))
    return file


def kept_ports() -> Iterator[socket.socket]:
    """Below the ephemeral range, so that no outgoing connection takes one once it is free."""
    for port in random.sample(range(20_000, 32_000), 200):
        with suppress(OSError):
            yield socket.create_server(("127.0.0.1", port))


class House:
    def __init__(self, folder: Path, roots: Path, catalogue: Catalogue) -> None:
        self.folder = folder
        self.catalogue = catalogue
        for name in ("policy", "ca"):
            (folder / name).mkdir()
        self.taken = list(islice(kept_ports(), 5))
        self.ports = [one.getsockname()[1] for one in self.taken]
        self.transparent, self.explicit, self.endpoint, self.second, self.admin = self.ports
        self.variables = {
            "PODKEY_NAMESPACE": "ml",
            "PODKEY_SERVICE_ACCOUNT": "trainer",
            "PODKEY_CAPTURE": "transparent,explicit,endpoint",
            "PODKEY_TRANSPARENT_PORT": str(self.transparent),
            "PODKEY_EXPLICIT_PORT": str(self.explicit),
            "PODKEY_ENDPOINTS": f"{self.endpoint}=openai {self.second}=api.example.com",
            "PODKEY_ADMIN_PORT": str(self.admin),
            "PODKEY_TRUST_DIR": str(folder / "ca"),
            "PODKEY_ROOTS_FILE": str(roots),
        }
        self.log = TestLog()
        self.metrics = Metrics()

    @property
    def settings(self) -> ProxySettings:
        found = read_settings(self.variables)
        assert isinstance(found, ProxySettings), found
        return found

    def free(self, *ports: int) -> None:
        """Until then the ports are kept for this test."""
        for one in self.taken:
            if not ports or one.getsockname()[1] in ports:
                one.close()
        self.taken = [one for one in self.taken if one.fileno() >= 0]

    def open(self) -> Reception | str:
        reception, self.doors, self.state = self._opened()
        return reception

    def _opened(self) -> tuple[Reception | str, Doors, PolicyState]:
        settings = self.settings
        private = self.folder / "private"
        trust = PodTrust.open(
            private, self.folder / "ca", settings.trust, "ml/trainer", lambda: datetime.now(UTC)
        )
        assert isinstance(trust, PodTrust), trust
        loaded = PolicyFolder(self.folder / "policy", self.catalogue).load()
        assert isinstance(loaded, LoadedPolicy)
        state = PolicyState(loaded, POD, frozenset(), lambda _state: None, lambda: NOON)
        recorder = EdgeRecorder(self.metrics, lambda _record: None, self.log, Clock())
        doors = Doors(settings, trust, private, recorder, self.log)
        return doors.open(state, World().lane_world), doors, state

    def listening(self) -> set[int]:
        """Which of the ports take connections."""
        found = set()
        for port in self.ports:
            with suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port)).close()
                found.add(port)
        return found

    def live(self, look: Callable[[Reception], None]) -> None:
        async def run() -> None:
            reception = self.open()
            assert isinstance(reception, Reception), reception
            look(reception)
            await reception.drain(0)

        asyncio.run(run())

    def trouble(self) -> str:
        async def run() -> Reception | str:
            return self.open()

        found = asyncio.run(run())
        assert isinstance(found, str)
        return found


@pytest.fixture
def house(tmp_path: Path, roots: Path, catalogue: Catalogue) -> Iterator[House]:
    made = House(tmp_path, roots, catalogue)
    yield made
    for one in made.taken:
        one.close()


@pytest.mark.parametrize(
    ("capture", "ports"),
    [
        ("transparent", ["transparent"]),
        ("explicit", ["explicit"]),
        ("transparent,explicit", ["transparent", "explicit"]),
        ("endpoint", ["endpoint", "second"]),
        ("transparent,explicit,endpoint", ["transparent", "explicit", "endpoint", "second"]),
    ],
)
def test_exactly_the_ways_in_that_are_asked_for_are_open(
    house: House, capture: str, ports: list[str]
) -> None:
    house.variables["PODKEY_CAPTURE"] = capture
    if Capture.ENDPOINT.value not in capture:
        del house.variables["PODKEY_ENDPOINTS"]
    house.free()
    seen: list[set[int]] = []

    house.live(lambda _reception: seen.append(house.listening()))

    assert seen == [{getattr(house, name) for name in ports}]
    assert house.listening() == set()
    assert (house.folder / "ca" / ENDPOINTS_FILE).exists() is (Capture.ENDPOINT.value in capture)


def test_base_urls_are_told_to_the_application_and_stay_the_same(house: House) -> None:
    house.free()
    texts = []
    file = house.folder / "ca" / ENDPOINTS_FILE

    for _ in range(2):
        house.live(lambda _reception: texts.append(file.read_text()))

    assert f"OPENAI_BASE_URL=http://127.0.0.1:{house.endpoint}/podkey-" in texts[0]
    assert texts[0] == texts[1]
    assert file.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("name", ["transparent", "explicit", "second"])
def test_a_port_that_is_taken_is_named_and_all_doors_stay_shut(house: House, name: str) -> None:
    taken = getattr(house, name)
    house.free(*(port for port in house.ports if port != taken))

    message = house.trouble()

    assert message.startswith(f"cannot listen on port {taken}: ")
    assert message.endswith("another process may hold it")
    house.free()
    assert house.listening() == set()


def test_a_token_that_is_given_stands_in_base_urls_and_in_no_file(house: House) -> None:
    house.variables["PODKEY_ENDPOINT_TOKEN"] = "0a" * 16
    house.free()
    texts: list[str] = []

    house.live(lambda _reception: texts.append((house.folder / "ca" / ENDPOINTS_FILE).read_text()))

    assert f"OPENAI_BASE_URL=http://127.0.0.1:{house.endpoint}/podkey-{'0a' * 16}/v1" in texts[0]
    assert not (house.folder / "private" / TOKEN_FILE).exists()


def test_an_endpoint_that_means_nothing_is_named_with_its_fix(house: House) -> None:
    house.variables["PODKEY_ENDPOINTS"] = f"{house.endpoint}=opnai {house.second}=antropic"
    house.free()

    message = house.trouble()

    assert message.count("PODKEY_ENDPOINTS: ") == 2
    assert "opnai" in message
    assert "antropic" in message
    assert house.listening() == set()


def test_endpoints_that_cannot_be_told_are_not_served(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *_: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(module, "replace_file", full)
    house.free()

    message = house.trouble()

    assert message.startswith("the endpoints cannot be published: ")
    assert f"{ENDPOINTS_FILE}: No space left on device" in message
    assert house.listening() == set()


@pytest.mark.parametrize(("fitting", "warned"), [(7, True), (8192, False)])
def test_a_limit_of_files_that_is_too_low_is_told_with_the_fix(
    house: House, monkeypatch: pytest.MonkeyPatch, fitting: int, *, warned: bool
) -> None:
    monkeypatch.setattr(module, "connections_that_fit", lambda wanted: min(fitting, wanted))
    house.free()

    house.live(lambda _reception: None)

    assert house.log.events == ["too few file descriptors"] * warned
    if warned:
        assert house.log.lines[0][1]["connections"] == fitting
        assert "PODKEY_MAX_CONNECTIONS" in str(house.log.lines[0][1]["fix"])


@pytest.mark.parametrize("capture", ["explicit", "transparent,explicit,endpoint"])
def test_the_explicit_proxy_leads_to_none_of_our_own_ports(house: House, capture: str) -> None:
    house.variables["PODKEY_CAPTURE"] = capture
    if capture == "explicit":
        del house.variables["PODKEY_ENDPOINTS"]
    house.free()

    async def run() -> list[bytes]:
        reception = house.open()
        assert isinstance(reception, Reception), reception
        answers = []
        # Also where the redirect leads to, though nothing of ours may listen there.
        for port in (house.transparent, house.explicit, house.admin):
            reader, writer = await asyncio.open_connection("127.0.0.1", house.explicit)
            writer.write(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            answers.append(await reader.read())
            writer.close()
        await reception.drain(0)
        return answers

    for answer in asyncio.run(asyncio.wait_for(run(), 10)):
        assert b"podkey-reason: fenced_address" in answer


@pytest.mark.parametrize(
    ("given", "lane", "loaded"), [("true", LaneName.FAST, []), ("false", None, [LaneName.MITMPROXY])]
)
def test_mitmproxy_is_loaded_beforehand_where_it_serves_everything(
    house: House, monkeypatch: pytest.MonkeyPatch, given: str, lane: LaneName | None, loaded: list[LaneName]
) -> None:
    house.variables["PODKEY_FAST_LANE"] = given
    house.free()
    begun: list[LaneName] = []
    made: list[Lanes] = []
    served: list[LaneName] = []
    monkeypatch.setattr(LateLane, "begin", lambda self: begun.append(self.name))

    def lanes(*parts: Any) -> Lanes:
        made.append(Lanes(*parts))
        return made[-1]

    def door(one: BoundEndpoint, prefix: str, lane: Lane) -> EndpointDoor:
        served.append(lane.name)
        return EndpointDoor(one, prefix, lane)

    monkeypatch.setattr(module, "Lanes", lanes)
    monkeypatch.setattr(module, "EndpointDoor", door)

    house.live(lambda _reception: None)

    ((fast, mitmproxy),) = ((one.fast, one.mitmproxy) for one in made)
    assert (None if fast is None else fast.name) is lane
    assert mitmproxy.name is LaneName.MITMPROXY
    assert begun == loaded
    # An endpoint speaks HTTP/1.1.
    assert served == [lane or LaneName.MITMPROXY] * 2


VECTORS = """---
apiVersion: podkey.io/v1alpha1
kind: CatalogueEntry
metadata: {name: vectors}
spec:
  title: Vectors
  summary: It stores vectors.
  endpoints: [{hosts: [vectors.example.com]}]
  attach: [{bearer: {}}]
  grpc: true
"""
GRPC = SOURCES + VECTORS + policy("{service: vectors, credential: a}")


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[LaneName]:
    """Which lanes were begun to be loaded."""
    found: list[LaneName] = []
    monkeypatch.setattr(LateLane, "begin", lambda self: found.append(self.name))
    return found


@pytest.mark.parametrize(
    ("text", "loaded"),
    [
        (GRPC, [LaneName.MITMPROXY]),
        # It is known, and no grant names it.
        (SOURCES + VECTORS + policy("{service: openai, credential: a}"), []),
        ("", []),
    ],
)
def test_mitmproxy_is_loaded_beforehand_where_a_policy_names_a_service_of_grpc(
    house: House, begun: list[LaneName], text: str, loaded: list[LaneName]
) -> None:
    (house.folder / "policy" / "p.yaml").write_text(text)
    house.free()

    house.live(lambda _reception: None)

    assert begun == loaded


def test_mitmproxy_is_loaded_when_a_later_policy_names_a_service_of_grpc(
    house: House, begun: list[LaneName]
) -> None:
    house.free()

    def look(_: Reception) -> None:
        house.doors.expect(house.state())
        assert begun == []
        folder = PolicyFolder(house.folder / "policy", house.catalogue)
        loaded = folder.compile({"p.yaml": GRPC.encode()})
        assert isinstance(loaded, LoadedPolicy), loaded
        house.state.replace_policy(loaded)
        house.doors.expect(house.state())

    house.live(look)

    assert begun == [LaneName.MITMPROXY]


def test_before_the_doors_are_open_nothing_is_loaded(house: House, begun: list[LaneName]) -> None:
    (house.folder / "policy" / "p.yaml").write_text(GRPC)
    house.free(*(port for port in house.ports if port != house.transparent))

    assert house.trouble().startswith("cannot listen on port ")
    house.doors.expect(house.state())

    assert begun == []
