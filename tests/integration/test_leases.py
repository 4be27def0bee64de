"""Leases of a running sidecar: what people see of them, how few fetches they cost, and how they end."""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, Final
from urllib.parse import quote

import pytest

from proxy.core.contract import CONTROL_SOCKET, PROXY_UID
from proxy.edge.control import ask
from proxy.edge.lease_ends import FAREWELL_SECONDS
from proxy.leasing.pace import BASE
from proxy.sources.steps import HttpReply
from tests.canary import Canary, shared_canary
from tests.netns import APP_UID, MISSING, podkey_command, popen_as, run_as
from tests.pod_world import Answer, fetch
from tests.raw_client import Answer as RawAnswer
from tests.raw_client import talk
from tests.raw_h2 import Field, Http2
from tests.sidecar_pod import ACCOUNT, NAMESPACE, Sidecar, SidecarPod, sidecar_pod, wait_for
from tests.source_world import Request, json_reply
from tests.stand_in_server import PROVIDERS, StandInServer
from tests.upstreams import Upstream, tls_context

API, LAB, IDP = "api.acme.example", "lab.acme.example", "idp.acme.example"
CLIENT = "trainer"
OAUTH, MOUNTED = f"{NAMESPACE}/idp", f"{NAMESPACE}/lab"

STORM_CONNECTIONS: Final = 10
STORM_STREAMS: Final = 50
# Policies are looked at five times a second, read twice, and compiled; the machine may be busy.
REVOKE_SECONDS: Final = 3.0
# A machine that is busy adds this to what is measured.
SLACK_SECONDS: Final = 3.0


def document(kind: str, name: str, spec: dict[str, Any]) -> str:
    metadata = {"name": name, "namespace": NAMESPACE}
    return json.dumps({"apiVersion": "podkey.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})


def access(*grants: dict[str, Any]) -> str:
    spec = {"workloads": {"serviceAccounts": [ACCOUNT]}, "grants": list(grants)}
    return document("AccessPolicy", "train", spec)


SOURCES: Final = "\n---\n".join(
    (
        document(
            "CredentialSource",
            "idp",
            {
                "oauth2ClientCredentials": {
                    "tokenUrl": f"https://{IDP}/token",
                    "revocationUrl": f"https://{IDP}/revoke",
                    "clientId": CLIENT,
                    "auth": {"secretPost": {"secretName": "client", "key": "secret"}},
                },
                "attach": {"bearer": {}},
            },
        ),
        document(
            "CredentialSource",
            "lab",
            {"mountedSecret": {"secretName": "lab", "key": "token"}, "attach": {"bearer": {}}},
        ),
    )
)
GRANTS: Final = ({"hosts": [API], "credential": "idp"}, {"hosts": [LAB], "credential": "lab"})
POLICY: Final = f"{access(*GRANTS)}\n---\n{SOURCES}"


class Provider:
    """A token endpoint (RFC 6749 §4.4, the client's secret in the form) and its revocation (RFC 7009)."""

    def __init__(self, canary: Canary) -> None:
        self.canary = canary
        self.secret = canary.secret("the client's secret")
        self.asked = 0
        self.issued: list[str] = []
        self.revoked: dict[str, float] = {}
        # Closed: whoever asks for a token waits.
        self.gate = threading.Event()
        self.gate.set()
        # Set: nobody gets an answer to a revocation.
        self.hangs = threading.Event()
        self.ended = threading.Event()
        self.down: HttpReply | None = None

    def __call__(self, request: Request) -> HttpReply:
        form = request.form
        if (form["client_id"], form["client_secret"]) != (CLIENT, self.secret):
            return json_reply(401, b'{"error": "invalid_client"}')
        if request.path == "/revoke":
            if self.hangs.is_set():
                self.ended.wait(20)
            self.revoked[form["token"]] = time.monotonic()
            return HttpReply(200, {}, b"")
        self.asked += 1
        self.gate.wait(20)
        if self.down is not None:
            return self.down
        self.issued.append(self.canary.secret("an access token"))
        body = {"access_token": self.issued[-1], "token_type": "Bearer", "expires_in": 3600}
        return json_reply(200, json.dumps(body).encode())


class World:
    def __init__(self, pod: SidecarPod, upstream: Upstream, provider: Provider, canary: Canary) -> None:
        self.pod = pod
        self.upstream = upstream
        self.provider = provider
        self.canary = canary

    @property
    def sidecar(self) -> Sidecar:
        return self.pod.sidecar

    @property
    def socket(self) -> Path:
        return self.pod.state / CONTROL_SOCKET

    def podkey(self, *arguments: str, uid: int = 0) -> CompletedProcess[str]:
        """`podkey leases`, as somebody beside the sidecar runs it."""
        command = podkey_command("leases", *arguments)
        done = run_as(uid, command, env={"PODKEY_STATE_DIR": str(self.pod.state)})
        out, err = done.stdout.decode(), done.stderr.decode()
        self.canary.search(out + err, "what `podkey leases` prints")
        return CompletedProcess(done.args, done.returncode, out, err)

    def authorizations(self) -> list[str]:
        return [value for request in self.upstream.requests for value in request.header("authorization")]


@contextmanager
def world_of(canary: Canary, **settings: Any) -> Iterator[World]:
    if MISSING:
        pytest.skip(MISSING)
    with sidecar_pod(canary, internet=[PROVIDERS]) as pod, ExitStack() as stack:
        provider = Provider(canary)
        stack.enter_context(StandInServer(pod, IDP, provider))
        pod.resolve(API, LAB)
        context = tls_context(*pod.upstream_certificate(API, LAB), alpn=("h2", "http/1.1"))
        upstream = stack.enter_context(Upstream(context, ns=pod.network.net))
        stack.callback(provider.ended.set)
        stack.callback(provider.gate.set)
        secrets = {
            "client": {"secret": provider.secret.encode()},
            "lab": {"token": canary.secret("the lab's token").encode()},
        }
        pod.start_sidecar(POLICY, secrets, **settings)
        yield World(pod, upstream, provider, canary)
        assert [line for line in pod.sidecar.log_lines() if line["event"] == "unexpected error"] == []


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with shared_canary() as canary, world_of(canary) as world:
        yield world


@pytest.fixture
def world(shared: World) -> World:
    """With nothing fetched yet."""
    shared.sidecar.wait_idle()
    ask(shared.socket, {"command": "drop", "credential": None})
    revoked = shared.provider.revoked
    wait_for(lambda: len(revoked) == len(shared.provider.issued), "the end of earlier leases")
    revoked.clear()
    shared.provider.issued.clear()
    shared.provider.asked = 0
    shared.upstream.clear()
    return shared


# --- what people see -------------------------------------------------------------------------------------


def test_leases_are_listed_with_everything_but_their_value(world: World) -> None:
    assert "no live leases" in world.podkey().stdout
    for host in (API, LAB):
        assert fetch(world.pod, host, "/v1/x").status == 200

    told = json.loads(world.podkey("--output", "json").stdout)
    table = world.podkey().stdout

    assert told["failing"] == []
    leases = {lease["credential"]: lease for lease in told["leases"]}
    assert set(leases) == {OAUTH, MOUNTED}
    oauth, mounted = leases[OAUTH], leases[MOUNTED]
    assert (oauth["kind"], mounted["kind"]) == ("oauth2ClientCredentials", "mountedSecret")
    assert (oauth["scope"], mounted["expires"]) == ("", None)
    assert oauth["issued"] < oauth["expires"]
    assert 0 <= oauth["unusedSeconds"] <= oauth["ageSeconds"] < 30
    assert table.split()[:3] == ["CREDENTIAL", "KIND", "LEASE"]
    for lease in leases.values():
        assert lease["credential"] in table
        assert lease["lease"] in table
    used = {record["credential"]: record["leaseId"] for record in world.sidecar.audit()[-2:]}
    assert used == {name: lease["lease"] for name, lease in leases.items()}


@pytest.mark.parametrize("which", [OAUTH, "--all"])
def test_what_is_dropped_is_fetched_anew_by_the_next_request_and_not_before(world: World, which: str) -> None:
    assert fetch(world.pod, API, "/v1/x").status == 200
    assert fetch(world.pod, API, "/v1/x").status == 200
    assert world.provider.asked == 1

    done = world.podkey("drop", which)

    assert done.stdout == "1 lease dropped; the next request fetches anew\n", done.stderr
    wait_for(lambda: [*world.provider.revoked] == world.provider.issued, "the revocation")
    assert world.provider.asked == 1
    assert fetch(world.pod, API, "/v1/x").status == 200
    assert world.provider.asked == 2
    first, second = world.provider.issued
    assert world.authorizations() == [f"Bearer {first}"] * 2 + [f"Bearer {second}"]


def test_to_drop_what_no_policy_names_is_a_mistake_that_is_told(world: World) -> None:
    assert fetch(world.pod, API, "/v1/x").status == 200

    done = world.podkey("drop", f"{NAMESPACE}/ipd")

    assert (done.returncode, done.stdout) == (1, "")
    assert f"{NAMESPACE}/ipd" in done.stderr
    assert OAUTH in done.stderr
    assert world.provider.revoked == {}


# --- who may see it --------------------------------------------------------------------------------------


def test_root_and_the_sidecars_user_may_ask_and_the_application_may_not(world: World) -> None:
    assert world.socket.stat().st_mode & 0o777 == 0o600
    for uid in (0, PROXY_UID):
        done = world.podkey(uid=uid)
        assert (done.returncode, done.stderr) == (0, "")

    done = world.podkey(uid=APP_UID)

    assert done.returncode == 1
    assert done.stderr == f"podkey: {world.socket} is for root and the sidecar's user alone\n"


@contextmanager
def opened(*places: tuple[Path, int]) -> Iterator[None]:
    before = [(path, path.stat().st_mode & 0o777) for path, _ in places]
    for path, mode in places:
        path.chmod(mode)
    try:
        yield
    finally:
        for path, mode in before:
            path.chmod(mode)


def test_a_stranger_who_can_open_the_socket_is_told_nothing_and_is_noticed(world: World) -> None:
    assert fetch(world.pod, API, "/v1/x").status == 200
    folders = [world.pod.private, world.pod.state, world.socket.parent]
    with opened(*((folder, 0o711) for folder in folders), (world.socket, 0o666)):
        done = world.podkey(uid=APP_UID)
        dropped = world.podkey("drop", "--all", uid=APP_UID)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "podkey: the sidecar did not answer: only root and its own user are answered\n"
    assert (dropped.returncode, dropped.stdout) == (1, "")
    assert world.provider.revoked == {}
    lines = world.sidecar.wait_log("a stranger asked for the leases", count=2)
    assert {(line["level"], line["uid"]) for line in lines} == {("warning", APP_UID)}


READ: Final = """
import sys
for path in sys.argv[1:]:
    try:
        with open(path, "rb") as file:
            if path.endswith("mem"):
                file.seek(int(open(path[:-3] + "maps").readline().partition("-")[0], 16))
            print("read", len(file.read(100)) > 0)
    except OSError as error:
        print(type(error).__name__)
"""


def test_another_process_of_the_same_user_cannot_read_its_memory_nor_can_a_core_be_dumped(
    world: World,
) -> None:
    assert fetch(world.pod, API, "/v1/x").status == 200
    # What the same look shows of a process that did not harden itself.
    with popen_as(PROXY_UID, [sys.executable, "-c", "input()"], caps=(), stdin=-1) as other:
        wait_for(lambda: os.stat(f"/proc/{other.pid}").st_uid == PROXY_UID, "the other process")  # noqa: PTH116
        seen = {
            name: _read_as_the_proxy(pid) for name, pid in (("ours", world.sidecar.pid), ("other", other.pid))
        }
        other.communicate(b"\n")

    assert seen["ours"] == ["PermissionError"] * 2
    assert seen["other"] == ["read True"] * 2
    process = Path("/proc", str(world.sidecar.pid))
    assert "Uid:\t1337\t1337\t1337\t1337\n" in world.sidecar.status_text()
    # The kernel gives the files of a process that cannot be dumped to root (proc(5)).
    assert (process / "environ").stat().st_uid == 0
    (limit,) = [line for line in (process / "limits").read_text().splitlines() if "core file" in line]
    assert limit.split()[4:6] == ["0", "0"]


def _read_as_the_proxy(pid: int) -> list[str]:
    paths = [f"/proc/{pid}/environ", f"/proc/{pid}/mem"]
    done = run_as(PROXY_UID, [sys.executable, "-c", READ, *paths], caps=())
    return done.stdout.decode().split("\n")[:-1]


# --- how few fetches they cost ---------------------------------------------------------------------------


def test_five_hundred_first_requests_at_once_cost_one_fetch(world: World) -> None:
    world.provider.gate.clear()
    began = time.monotonic()
    with ThreadPoolExecutor(STORM_CONNECTIONS) as pool:
        answers = [pool.submit(burst, world.pod) for _ in range(STORM_CONNECTIONS)]
        wait_for(lambda: world.provider.asked, "the first of them")
        # By then the others wait, too.
        time.sleep(1.5)
        before = len(world.upstream.requests)
        world.provider.gate.set()
        statuses = [status for answer in answers for status in answer.result(30)]
    seconds = time.monotonic() - began

    assert statuses == [200] * STORM_CONNECTIONS * STORM_STREAMS
    assert before == 0
    assert world.provider.asked == 1
    assert set(world.authorizations()) == {f"Bearer {world.provider.issued[0]}"}
    assert len(world.upstream.requests) == len(statuses)
    print(f"{len(statuses)} requests in {seconds:.1f} s, of which the provider waited 1.5 s")  # noqa: T201


def burst(pod: SidecarPod) -> list[int]:
    """Many requests in one go, over one connection."""
    fields: list[Field] = [
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":path", b"/v1/x"),
        (b":authority", API.encode()),
    ]
    client = Http2(window=2**24)
    for index in range(STORM_STREAMS):
        client.open(2 * index + 1, fields)
    reply = talk(pod, client.sent, name=API, alpn=["h2"], streams=STORM_STREAMS, patience=30)
    return [one.status for one in client.read(reply.data).values() if isinstance(one, RawAnswer)]


def test_a_source_that_is_down_is_quoted_without_its_secrets_and_serves_again_within_a_step(
    world: World,
) -> None:
    secret = world.provider.secret
    told = f"maintenance until noon (client_secret={quote(secret, safe='')}, {secret})"
    body = {"error": "temporarily_unavailable", "error_description": told}
    world.provider.down = json_reply(503, json.dumps(body).encode())
    try:
        answer = fetch(world.pod, API, "/v1/x")
        (failing,) = json.loads(world.podkey("--output", "json").stdout)["failing"]
    finally:
        world.provider.down = None
    mended = time.monotonic()

    assert (answer.status, answer.headers["podkey-reason"]) == (502, "credential_unavailable")
    text = answer.body.decode()
    assert f"{IDP} answered 503: temporarily_unavailable: maintenance until noon" in text
    world.canary.search(text, "the refusal")
    assert failing["credential"] == OAUTH
    assert "maintenance until noon" in failing["why"]
    answers: list[Answer] = []
    while not answers or answers[-1].status != 200:
        assert time.monotonic() < mended + 2 * BASE + SLACK_SECONDS, answers[-1].body
        answers.append(fetch(world.pod, API, "/v1/x"))
    assert world.provider.asked == 2
    seconds = time.monotonic() - mended
    print(f"good again {seconds:.1f} s after it was mended, {len(answers)} requests later")  # noqa: T201
    assert json.loads(world.podkey("--output", "json").stdout)["failing"] == []


# --- how they end ----------------------------------------------------------------------------------------


def test_without_its_grant_a_lease_is_revoked_within_a_second(world: World) -> None:
    assert fetch(world.pod, API, "/v1/x").status == 200
    try:
        world.pod.write_policy(f"{access(GRANTS[1])}\n---\n{SOURCES}")
        began = time.monotonic()
        wait_for(lambda: world.provider.revoked, "the revocation", REVOKE_SECONDS)
        (seconds,) = [moment - began for moment in world.provider.revoked.values()]
        # Nobody speaks for that host any more, so it is relayed unopened.
        world.upstream.clear()
        assert get(world.pod, API, world.pod.authority.file).status == 200
        assert world.authorizations() == []
        assert get(world.pod, LAB, world.pod.ca).status == 200
        assert len(world.authorizations()) == 1
        assert OAUTH not in world.podkey().stdout
    finally:
        count = len(world.sidecar.wait_log("policy applied"))
        world.pod.write_policy(POLICY)
        world.sidecar.wait_log("policy applied", count=count + 1)
    assert [*world.provider.revoked] == world.provider.issued
    (line,) = [
        line
        for line in world.sidecar.wait_log("a lease was revoked")
        if line["why"] == "no policy names it any more"
    ]
    assert line["credential"] == OAUTH
    print(f"revoked {seconds:.2f} s after the file changed")  # noqa: T201


def get(pod: SidecarPod, host: str, ca: Path) -> RawAnswer:
    """From whoever has that authority."""
    return talk(pod, f"GET /v1/x HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(), name=host, answers=1, ca=ca).only


def test_what_can_be_revoked_is_when_the_sidecar_ends(canary: Canary) -> None:
    with world_of(canary, capture="transparent") as world:
        assert fetch(world.pod, API, "/v1/x").status == 200
        seconds = ended(world.sidecar)

        assert [*world.provider.revoked] == world.provider.issued
        assert len(world.provider.issued) == 1
        assert not world.socket.exists()
    assert seconds < FAREWELL_SECONDS
    print(f"ended after {seconds:.2f} s")  # noqa: T201


def test_a_provider_that_hangs_delays_the_end_by_three_seconds_and_no_more(canary: Canary) -> None:
    with world_of(canary) as world:
        assert fetch(world.pod, API, "/v1/x").status == 200
        world.provider.hangs.set()
        seconds = ended(world.sidecar)

        assert world.provider.revoked == {}
        (line,) = world.sidecar.wait_log("leases were not revoked in time")
        assert line["leases"] == 1
    assert FAREWELL_SECONDS <= seconds < FAREWELL_SECONDS + SLACK_SECONDS
    print(f"ended after {seconds:.2f} s")  # noqa: T201


def ended(sidecar: Sidecar) -> float:
    """How long it took, from SIGTERM on. There is nothing to be drained."""
    sidecar.wait_idle()
    began = time.monotonic()
    assert sidecar.stop() == 0
    return time.monotonic() - began
