"""The whole sidecar in this process, on ports of the loopback that nobody else uses."""

import asyncio
import json
import random
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from proxy.core.arrival import LaneName
from proxy.core.audit import AuditRecord
from proxy.core.contract import CONTROL_SOCKET, ENDPOINTS_FILE
from proxy.core.credentials import CredentialRef
from proxy.core.identity import Claim
from proxy.core.lease import LeaseKey
from proxy.core.services import Catalogue
from proxy.core.settings import ProxySettings
from proxy.documents.settings import read_settings
from proxy.edge import attestation, control
from proxy.edge import sidecar as module
from proxy.edge.authority import TrustProblem
from proxy.edge.control import ControlError
from proxy.edge.control import ask as ask_control
from proxy.edge.metrics import Metrics
from proxy.edge.policy_state import LoadedPolicy, PolicyFolder, PolicyState
from proxy.edge.recorder import EdgeRecorder
from proxy.edge.sidecar import Sidecar
from proxy.lanes.late import LateLane
from proxy.transaction.pod import PodState
from tests.canary import Canary
from tests.judge_world import NOON, POD, SOURCES, policy
from tests.lane_world import Clock, Internet
from tests.pod_tokens import TokenIssuer, jwks

POLICY = policy("{hosts: [api.example.com], credential: a}")


class Log:
    """Lines, and a way to wait for one."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []
        self._news = asyncio.Event()

    def info(self, event: str, **fields: object) -> None:
        self.lines.append((event, fields))
        self._news.set()

    warning = error = info

    @property
    def events(self) -> list[str]:
        return [event for event, _ in self.lines]

    async def wait_for(self, event: str, number: int = 1) -> dict[str, object]:
        async with asyncio.timeout(5):
            while True:
                found = [fields for line, fields in self.lines if line == event]
                if len(found) >= number:
                    return found[number - 1]
                self._news.clear()
                await self._news.wait()


def free_ports(count: int) -> list[int]:
    """Below the ephemeral range, so that no outgoing connection takes one meanwhile."""
    found: list[int] = []
    candidates = random.sample(range(20_000, 32_000), 200)
    while len(found) < count:
        port = candidates.pop()
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
    return found


class Place:
    """The folders and ports of one sidecar, and what has to be there for it to be ready."""

    def __init__(self, folder: Path, catalogue: Catalogue) -> None:
        self.folder = folder
        self.catalogue = catalogue
        self.transparent, self.explicit, self.admin, self.endpoint = free_ports(4)
        for name in ("policy", "secrets", "tokens", "state", "ca"):
            (folder / name).mkdir()
        self.issuer = TokenIssuer()
        (folder / "jwks.json").write_bytes(jwks(self.issuer))
        self.write_token()
        (folder / "policy" / "p.yaml").write_text(POLICY + SOURCES)
        (folder / "roots.pem").write_bytes(Internet().root.public_bytes(Encoding.PEM))
        self.variables = {
            "PODKEY_NAMESPACE": "ml",
            "PODKEY_SERVICE_ACCOUNT": "trainer",
            "PODKEY_CAPTURE": "transparent,explicit,endpoint",
            "PODKEY_TRANSPARENT_PORT": str(self.transparent),
            "PODKEY_EXPLICIT_PORT": str(self.explicit),
            "PODKEY_ADMIN_PORT": str(self.admin),
            "PODKEY_ENDPOINTS": f"{self.endpoint}=openai",
            "PODKEY_POLICY_DIR": str(folder / "policy"),
            "PODKEY_SECRETS_DIR": str(folder / "secrets"),
            "PODKEY_TOKENS_DIR": str(folder / "tokens"),
            "PODKEY_JWKS_FILE": str(folder / "jwks.json"),
            "PODKEY_ISSUER": self.issuer.issuer,
            "PODKEY_STATE_DIR": str(folder / "state"),
            "PODKEY_TRUST_DIR": str(folder / "ca"),
            "PODKEY_ROOTS_FILE": str(folder / "roots.pem"),
            "PODKEY_DRAIN_TIMEOUT": "0s",
        }

    @property
    def token(self) -> Path:
        return self.folder / "tokens" / "podkey"

    def write_token(self, issuer: TokenIssuer | None = None, **who: Any) -> None:
        self.token.write_bytes((issuer or self.issuer).token(datetime.now(UTC), **who))

    @property
    def settings(self) -> ProxySettings:
        found = read_settings(self.variables)
        assert isinstance(found, ProxySettings), found
        return found


class Running:
    def __init__(self, place: Place) -> None:
        self.place = place
        self.log = Log()
        self.stop = asyncio.Event()
        self.metrics = Metrics()
        self.audited: list[AuditRecord] = []
        self.clock = Clock()
        recorder = EdgeRecorder(self.metrics, self.audited.append, self.log, self.clock)
        self.sidecar = Sidecar(place.settings, place.catalogue, self.metrics, recorder, self.log, self.stop)
        self.task: asyncio.Task[None] | None = None

    @property
    def pod(self) -> PodState:
        assert self.sidecar._world is not None
        return self.sidecar._world.pod()

    async def readyz(self) -> tuple[int, dict[str, str]]:
        answer = await ask(self.place.admin, b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        missing = {one["condition"]: one["reason"] for one in json.loads(body)["missing"]}
        return int(head.split()[1]), missing

    def metric(self, name: str) -> float:
        lines = self.metrics.exposition()[0].decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


async def ask(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.fixture
def place(tmp_path: Path, catalogue: Catalogue) -> Place:
    return Place(tmp_path, catalogue)


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(module, "POLICY_PERIOD", 0.01)
    monkeypatch.setattr(attestation, "PERIOD", 0.01)


@asynccontextmanager
async def running(place: Place) -> AsyncIterator[Running]:
    one = Running(place)
    one.task = asyncio.get_running_loop().create_task(one.sidecar.run())
    try:
        yield one
    finally:
        one.stop.set()
        async with asyncio.timeout(5):
            await one.task


def live(place: Place, work: Callable[[Running], Awaitable[None]]) -> Running:
    """Something done while the sidecar runs; afterwards it has ended."""

    async def run() -> Running:
        async with running(place) as one:
            await work(one)
        return one

    return asyncio.run(run())


# --- start -----------------------------------------------------------------------------------------------


def test_with_all_parts_it_is_ready_and_listens(place: Place) -> None:
    async def work(one: Running) -> None:
        await one.log.wait_for("ready")
        assert await one.readyz() == (200, {})
        assert one.metric("podkey_ready") == 1
        for port in (place.transparent, place.explicit, place.endpoint):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()

    one = live(place, work)

    assert one.metric("podkey_ready") == 0
    assert one.metric("podkey_policy_info") == 1


@pytest.mark.parametrize(
    ("part", "variable", "value"),
    [
        ("policy", "PODKEY_POLICY_DIR", "missing"),
        ("pod", "PODKEY_LABELS_FILE", "missing/labels"),
        ("pod", "PODKEY_OWNER_FILE", "missing/owner"),
        ("pod", "PODKEY_PLACEHOLDERS_FILE", "missing/placeholders"),
        ("authority", "PODKEY_ROOTS_FILE", "missing.pem"),
        ("authority", "PODKEY_STATE_DIR", "missing/deep/state"),
    ],
)
def test_what_is_missing_is_named_and_nothing_listens_meanwhile(
    place: Place, part: str, variable: str, value: str
) -> None:
    place.variables[variable] = str(place.folder / value)

    async def work(one: Running) -> None:
        fields = await one.log.wait_for("not ready")
        assert fields["part"] == part
        status, missing = await one.readyz()
        assert status == 503
        assert "missing" in missing[part]
        for port in (place.transparent, place.explicit, place.endpoint):
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)

    one = live(place, work)

    assert one.log.events.count("not ready") == 1


def test_that_nothing_is_refused_is_told(place: Place) -> None:
    place.variables["PODKEY_MODE"] = "observe"

    async def work(one: Running) -> None:
        told = await one.log.wait_for("nothing is refused: this pod only observes")
        assert told["setting"] == "PODKEY_MODE"

    assert live(place, work).pod.policies.observing


def test_it_becomes_ready_when_what_is_missing_comes(place: Place) -> None:
    folder = place.folder / "policy"
    folder.rename(place.folder / "elsewhere")

    async def work(one: Running) -> None:
        await one.log.wait_for("not ready")
        (place.folder / "elsewhere").rename(folder)
        await one.log.wait_for("ready")
        assert await one.readyz() == (200, {})

    live(place, work)


def test_a_bad_policy_is_waited_out(place: Place) -> None:
    file = place.folder / "policy" / "p.yaml"
    file.write_text("{")

    async def work(one: Running) -> None:
        fields = await one.log.wait_for("not ready")
        assert "p.yaml" in str(fields["why"])
        file.write_text(POLICY + SOURCES)
        await one.log.wait_for("ready")

    live(place, work)


@pytest.mark.parametrize("missing", ["PODKEY_POLICY_DIR", "PODKEY_ROOTS_FILE", "PODKEY_PLACEHOLDERS_FILE"])
def test_it_stops_when_told_while_it_waits(place: Place, missing: str) -> None:
    place.variables[missing] = str(place.folder / "missing")

    async def work(one: Running) -> None:
        await one.log.wait_for("not ready")
        one.stop.set()
        assert one.task is not None
        async with asyncio.timeout(5):
            await one.task

    one = live(place, work)

    assert "ready" not in one.log.events


def test_a_port_that_is_taken_is_named_and_tried_again(place: Place) -> None:
    async def work(one: Running) -> None:
        fields = await one.log.wait_for("not ready")
        assert "cannot listen" in str(fields["why"])
        # The doors that were open already are shut again.
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", place.transparent)
        taken.close()
        await one.log.wait_for("ready")

    taken = socket.create_server(("127.0.0.1", place.explicit))
    live(place, work)


def test_an_admin_port_that_is_taken_ends_the_sidecar(place: Place) -> None:
    async def run() -> None:
        with socket.create_server(("127.0.0.1", place.admin)), pytest.raises(OSError, match="in use"):
            await Running(place).sidecar.run()

    asyncio.run(run())


# --- who the pod is ------------------------------------------------------------------------------------


GOVERNED = policy("{hosts: [api.openai.com], credential: a}")


async def governed(place: Place) -> tuple[int, bytes]:
    """A request to a governed host, through its endpoint: it leaves the pod only if all is well."""
    text = (place.folder / "ca" / ENDPOINTS_FILE).read_text()
    (url,) = re.findall(r"OPENAI_BASE_URL=http://[^/]+(/\S+)", text)
    head = f"GET {url}/models HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    answer = await ask(place.endpoint, head.encode())
    return int(answer.split()[1]), answer


def test_until_the_pod_is_proved_it_listens_and_refuses_and_then_goes_on_without_a_restart(
    place: Place,
) -> None:
    (place.folder / "policy" / "p.yaml").write_text(GOVERNED + SOURCES)
    place.token.unlink()

    async def work(one: Running) -> None:
        await one.log.wait_for("listening")
        await one.log.wait_for("nobody proves who the pod is: governed requests are refused")
        status, missing = await one.readyz()
        assert (status, set(missing)) == (503, {"identity"})
        assert "project a serviceAccountToken with the audience `podkey`" in missing["identity"]
        assert "ready" not in one.log.events
        status, answer = await governed(place)
        assert status == 403
        assert b"podkey-reason: identity_unverified" in answer
        assert one.metric("podkey_identity_verified") == 0

        place.write_token()
        await one.log.wait_for("ready")
        assert await one.readyz() == (200, {})
        assert one.metric("podkey_identity_verified") == 1
        # It is judged now, and lacks the next thing.
        _, answer = await governed(place)
        assert b"podkey-reason: credential_unavailable" in answer

    one = live(place, work)

    first, second = one.audited
    assert (first.reason, first.evidence) == ("identity_unverified", "unverified")
    assert second.issuer == place.issuer.issuer
    assert (second.key_id, second.pod_name) == (place.issuer.key_id, "train-0")


def test_another_pods_token_makes_it_unready_and_its_own_ready_again(place: Place) -> None:
    async def work(one: Running) -> None:
        await one.log.wait_for("ready")
        place.write_token(namespace="other")
        await one.log.wait_for("nobody proves who the pod is: governed requests are refused")
        status, missing = await one.readyz()
        assert (status, set(missing)) == (503, {"identity"})
        assert one.metric("podkey_ready") == 0
        place.write_token()
        await one.log.wait_for("ready", 2)
        assert one.metric("podkey_ready") == 1

    live(place, work)


@pytest.fixture
def silent_issuer(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An issuer that takes connections and never says a word."""
    monkeypatch.setattr(module, "FIRST_PROOF_SECONDS", 0.05)
    del place.variables["PODKEY_JWKS_FILE"], place.variables["PODKEY_ISSUER"]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        place.variables |= {
            "PODKEY_DISCOVERY_URL": f"https://127.0.0.1:{port}",
            "PODKEY_DISCOVERY_TOKEN_FILE": "-",
            "PODKEY_DISCOVERY_CA_FILE": "-",
        }
        yield


@pytest.mark.usefixtures("silent_issuer")
def test_an_issuer_that_says_nothing_keeps_neither_the_listeners_nor_the_end_waiting(place: Place) -> None:
    async def work(one: Running) -> None:
        await one.log.wait_for("listening")
        assert await one.readyz() == (503, {"identity": "pending"})

    live(place, work)  # in time, or it fails


def test_labels_that_change_are_part_of_who_the_pod_is(place: Place) -> None:
    labels = place.folder / "labels"
    labels.write_text('team="vision"\n')
    place.variables["PODKEY_LABELS_FILE"] = str(labels)

    async def work(one: Running) -> None:
        await one.log.wait_for("ready")
        assert one.pod.identity.labels == {"team": "vision"}
        assert Claim.LABELS in one.pod.identity.unattested
        assert Claim.POD in one.pod.identity.attested

    live(place, work)


# --- leases ------------------------------------------------------------------------------------------


async def leases(place: Place) -> dict[str, Any]:
    """As `podkey leases` asks for them."""
    path = place.folder / "state" / CONTROL_SOCKET
    return dict(await asyncio.to_thread(ask_control, path, {"command": "list"}))


def mount_secret(place: Place, canary: Canary) -> None:
    (place.folder / "secrets" / "a").mkdir()
    (place.folder / "secrets" / "a" / "k").write_text(canary.secret("mounted"))


async def use_source(one: Running) -> None:
    key = one.pod.leases[CredentialRef("ml", "a")]
    assert isinstance(key, LeaseKey)
    assert one.sidecar._credentials is not None
    await one.sidecar._credentials.leases.lease(key)


def test_live_leases_can_be_asked_for_until_it_ends(place: Place, canary: Canary) -> None:
    mount_secret(place, canary)

    async def work(one: Running) -> None:
        await one.log.wait_for("ready")
        assert await leases(place) == {"leases": [], "failing": []}
        await use_source(one)
        [lease] = (await leases(place))["leases"]
        assert lease["credential"] == "ml/a"
        canary.watch(json.dumps(lease), "the list of leases")

    live(place, work)

    assert not (place.folder / "state" / CONTROL_SOCKET).exists()


def test_without_its_socket_everything_else_works(place: Place) -> None:
    (place.folder / "state" / CONTROL_SOCKET).mkdir(parents=True)
    (place.folder / "state" / "private").chmod(0o700)

    async def work(one: Running) -> None:
        fields = await one.log.wait_for("`podkey leases` cannot be asked")
        assert "directory" in str(fields["why"])
        await one.log.wait_for("ready")

    live(place, work)


def test_a_stranger_who_asks_is_told_of(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_peer", lambda _socket: 4242)

    async def work(one: Running) -> None:
        await one.log.wait_for("ready")
        with pytest.raises(ControlError):
            await leases(place)
        assert await one.log.wait_for("a stranger asked for the leases") == {"uid": 4242}

    live(place, work)


def test_a_source_that_is_gone_is_not_used_any_more_though_the_policy_is_rejected(
    place: Place, canary: Canary
) -> None:
    folder = place.folder / "policy"
    (folder / "p.yaml").write_text(GOVERNED)
    (folder / "sources.yaml").write_text(SOURCES)
    mount_secret(place, canary)

    async def work(one: Running) -> None:
        await one.log.wait_for("ready")
        await use_source(one)
        assert len((await leases(place))["leases"]) == 1

        (folder / "sources.yaml").unlink()
        await one.log.wait_for("policy rejected, the old one stays in force")
        fields = await one.log.wait_for(
            "what was removed does not count any more, though the policy was rejected"
        )
        assert "ml/a" in str(fields["credentials"])
        assert (await leases(place))["leases"] == []
        # The grant is still there, so the host is governed, and nothing goes out without the credential.
        status, answer = await governed(place)
        assert status == 502
        assert b"podkey-reason: credential_unavailable" in answer
        assert b"there is no CredentialSource ml/a any more" in answer

        (folder / "sources.yaml").write_text(SOURCES)
        await one.log.wait_for("policy applied")
        await use_source(one)
        assert len((await leases(place))["leases"]) == 1

    live(place, work)


def test_a_grant_that_is_gone_takes_its_lease_along(place: Place, canary: Canary) -> None:
    mount_secret(place, canary)

    async def work(one: Running) -> None:
        await one.log.wait_for("ready")
        await use_source(one)
        (place.folder / "policy" / "p.yaml").write_text(SOURCES)
        await one.log.wait_for("policy applied")
        assert await leases(place) == {"leases": [], "failing": []}

    live(place, work)


def test_what_a_new_policy_will_need_is_loaded_before_anybody_asks(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[LaneName] = []
    monkeypatch.setattr(LateLane, "begin", lambda self: begun.append(self.name))
    grpc = """---
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

    async def work(one: Running) -> None:
        await one.log.wait_for("ready")
        assert begun == []
        text = grpc + policy("{service: vectors, credential: a}") + SOURCES
        (place.folder / "policy" / "p.yaml").write_text(text)
        await one.log.wait_for("policy applied")
        assert begun[:1] == [LaneName.MITMPROXY]

    live(place, work)


# --- what it serves ----------------------------------------------------------------------------------


def test_an_endpoint_without_its_prefix_is_refused(place: Place) -> None:
    async def work(one: Running) -> None:
        await one.log.wait_for("ready")
        answer = await ask(
            place.endpoint, b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        )
        assert b"podkey-reason: endpoint_token" in answer

    one = live(place, work)

    assert [record.reason for record in one.audited] == ["endpoint_token"]


def test_the_explicit_proxy_does_not_lead_back_to_us_or_to_metadata(place: Place) -> None:
    async def work(one: Running) -> None:
        await one.log.wait_for("ready")
        for target in (f"127.0.0.1:{place.admin}", f"localhost:{place.transparent}", "169.254.169.254:80"):
            answer = await ask(
                place.explicit, f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode()
            )
            assert b"podkey-reason: fenced_address" in answer

    live(place, work)


def test_a_connection_to_the_transparent_port_itself_is_reset(place: Place) -> None:
    async def work(one: Running) -> None:
        await one.log.wait_for("ready")
        with suppress(ConnectionResetError):
            assert await ask(place.transparent, b"x") == b""
        assert one.metric('podkey_connections_refused_total{reason="direct"}') == 1

    live(place, work)


def test_before_it_listens_there_is_nothing_to_hurry(place: Place) -> None:
    Running(place).sidecar.hurry()


def test_whoever_says_it_twice_ends_what_still_moves(place: Place) -> None:
    place.variables["PODKEY_DRAIN_TIMEOUT"] = "1h"

    async def work(one: Running) -> None:
        await one.log.wait_for("ready")
        reader, writer = await asyncio.open_connection("127.0.0.1", place.explicit)
        writer.write(b"CONNECT api.ex")
        await asyncio.sleep(0)
        one.stop.set()
        await one.log.wait_for("draining")
        one.sidecar.hurry()
        with suppress(ConnectionResetError):
            async with asyncio.timeout(5):
                assert await reader.read() == b""
        writer.close()

    live(place, work)


def test_a_drain_cuts_idle_connections_and_says_so(place: Place) -> None:
    async def work(one: Running) -> None:
        await one.log.wait_for("ready")
        reader, writer = await asyncio.open_connection("127.0.0.1", place.explicit)
        one.stop.set()
        async with asyncio.timeout(5):
            assert await reader.read() == b""
            assert (await one.log.wait_for("drained"))["cut"] == 0
        writer.close()

    live(place, work)


# --- what goes on beside -----------------------------------------------------------------------------------


def state_of(one: Running) -> tuple[PolicyFolder, PolicyState]:
    folder = PolicyFolder(one.place.folder / "policy", one.place.catalogue)
    loaded = folder.load()
    assert isinstance(loaded, LoadedPolicy)
    return folder, PolicyState(loaded, POD, frozenset(), lambda _state: None, lambda: NOON)


def beside(place: Place, work: Callable[[Running], Awaitable[None]]) -> Running:
    async def run() -> Running:
        one = Running(place)
        try:
            async with asyncio.timeout(5):
                await work(one)
        finally:
            for task in one.sidecar._background:
                task.cancel()
            await asyncio.gather(*one.sidecar._background, return_exceptions=True)
        return one

    return asyncio.run(run())


def test_a_policy_is_replaced_by_a_sound_one_only(place: Place) -> None:
    async def work(one: Running) -> None:
        folder, state = state_of(one)
        first = state.sha256
        await one.sidecar._replace_policy(folder, state, {"p.yaml": b"{"})
        assert state.sha256 == first
        await one.sidecar._replace_policy(folder, state, {})
        assert state.sha256 != first

    one = beside(place, work)

    assert one.log.events == [
        "policy rejected, the old one stays in force",
        "policy applied",
    ]
    assert one.metric('podkey_policy_reloads_total{outcome="rejected"}') == 1


def test_a_policy_that_breaks_us_is_not_in_force(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RecursionError

    async def work(one: Running) -> None:
        folder, state = state_of(one)
        monkeypatch.setattr(PolicyFolder, "compile", broken)
        before = state()
        await one.sidecar._replace_policy(folder, state, {})
        assert state() is before

    one = beside(place, work)
    assert one.log.events == [
        "unexpected error",
        "policy rejected, the old one stays in force",
    ]


def test_work_that_breaks_is_told_and_begins_again(place: Place) -> None:
    async def work(one: Running) -> None:
        tries = 0
        again = asyncio.Event()

        async def broken() -> None:
            nonlocal tries
            tries += 1
            if tries == 3:
                again.set()
            raise RuntimeError("boom")

        one.sidecar._keep_going(broken)
        await again.wait()

    one = beside(place, work)

    assert [fields["where"] for _, fields in one.log.lines][:2] == ["background", "background"]


def test_the_authority_is_renewed_and_trouble_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RENEWAL_SECONDS", 0.0)

    async def work(one: Running) -> None:
        trust = one.sidecar._open_trust()
        assert not isinstance(trust, str), trust
        outcomes = [False, True, TrustProblem("ca.pem", "cannot be written", "mount it")]
        monkeypatch.setattr(type(trust), "renew_when_due", lambda *_: outcomes.pop(0) if outcomes else False)
        one.sidecar._keep_going(lambda: one.sidecar._renew(trust))
        await one.log.wait_for("the authority was renewed")
        fields = await one.log.wait_for("the authority could not be renewed")
        assert "ca.pem" in str(fields["why"])

    beside(place, work)


def test_a_policy_folder_that_goes_away_is_told(place: Place) -> None:
    async def work(one: Running) -> None:
        one.sidecar._policy_unreadable(OSError(2, "No such file or directory"))

    one = beside(place, work)
    assert one.log.lines[0][1] == {"why": "No such file or directory"}
