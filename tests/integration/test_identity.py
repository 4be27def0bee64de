"""Who the pod is, while it works: tokens that the kubelet renews, and tokens that prove nothing."""

import json
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from proxy.core.contract import EXPLICIT_PORT, IDENTITY_AUDIENCE
from tests.canary import Canary, shared_canary
from tests.forged_tokens import forged, header_of
from tests.netns import MISSING
from tests.pod_tokens import TokenIssuer, jwks
from tests.pod_world import Answer, Session, fetch, policy, secret
from tests.raw_client import Answer as RawAnswer
from tests.raw_client import ask, read_answers, talk, tls
from tests.raw_h2 import Field, Http2
from tests.sidecar_pod import ACCOUNT, NAMESPACE, Sidecar, SidecarPod, sidecar_pod, wait_for
from tests.upstreams import Upstream, tls_context, websocket

API, WATCHED, FILES = "api.openai.com", "watched.lab.example", "files.example.net"
MODELS = "/v1/models"
ENDPOINT_PORT = 15101
CLIENTS: Final = 4
# The most that each client of the load asks for, should nobody stop it.
MOST_REQUESTS: Final = 5000
# The sidecar looks at the token once a second.
SECONDS = 5.0
PROVED = "the pod is who it says it is"

OBSERVING = json.dumps(
    {
        "apiVersion": "podkey.io/v1alpha1",
        "kind": "AccessPolicy",
        "metadata": {"name": "watched", "namespace": NAMESPACE},
        "spec": {
            "mode": "observe",
            "workloads": {"serviceAccounts": [ACCOUNT]},
            "grants": [{"hosts": [WATCHED], "credential": "watched"}],
        },
    }
)
WATCHED_SOURCE = json.dumps(
    {
        "apiVersion": "podkey.io/v1alpha1",
        "kind": "CredentialSource",
        "metadata": {"name": "watched", "namespace": NAMESPACE},
        "spec": {"mountedSecret": {"secretName": "api-key", "key": "key"}, "attach": {"bearer": {}}},
    }
)


class World:
    def __init__(self, pod: SidecarPod, upstream: Upstream, key: str) -> None:
        self.pod = pod
        self.upstream = upstream
        self.key = key

    @property
    def sidecar(self) -> Sidecar:
        return self.pod.sidecar

    def lines(self, event: str, **fields: str) -> list[dict[str, Any]]:
        wanted = {"event": event, **fields}.items()
        return [line for line in self.sidecar.log_lines() if wanted <= line.items()]

    def faults(self, code: str) -> list[str]:
        """What was said of tokens with this fault, in whatever words for the whole."""
        return [line["why"] for line in self.sidecar.log_lines() if line.get("fault") == code]

    def publish(self, *issuers: TokenIssuer) -> None:
        """The issuer's keys, in one step."""
        new = self.pod.jwks_file.with_suffix(".new")
        new.write_bytes(jwks(*issuers))
        new.rename(self.pod.jwks_file)

    def mount(self, token: bytes | None) -> None:
        """As the kubelet does. None: only that of somebody else is mounted."""
        mounted = {"vault": self.pod.new_token("vault")} if token is None else {IDENTITY_AUDIENCE: token}
        self.pod.tokens.swap(mounted)

    def prove(self, token: bytes | None = None) -> None:
        count = len(self.lines(PROVED))
        self.mount(token or self.pod.new_token())
        wait_for(lambda: len(self.lines(PROVED)) > count, "the proof", SECONDS)

    def doubt(self, token: bytes | None, code: str) -> str:
        """Mount a bad one, and wait for what is said of it."""
        count = len(self.faults(code))
        self.mount(token)
        return wait_for(lambda: self.faults(code)[count:], f"the fault {code}", SECONDS)[-1]

    def unprove(self) -> str:
        """Whatever was proved, nothing is."""
        if self.sidecar.metric("podkey_identity_verified"):
            self.doubt(self.pod.new_token(pod=f"stranger-{len(self.faults('wrong_pod'))}"), "wrong_pod")
        return self.missing()["identity"]

    def missing(self) -> dict[str, str]:
        """What keeps the pod from being ready."""
        status, body = self.sidecar.get("/readyz")
        found = {one["condition"]: one["reason"] for one in json.loads(body)["missing"]}
        assert (status == 503) is bool(found)
        return found


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    if MISSING:
        pytest.skip(MISSING)
    with shared_canary() as canary, sidecar_pod(canary) as pod, ExitStack() as stack:
        pod.resolve(API, WATCHED, FILES)
        context = tls_context(*pod.upstream_certificate(API, WATCHED, FILES), alpn=("h2", "http/1.1"))
        upstream = stack.enter_context(Upstream(context, {"/v1/socket": websocket}, ns=pod.network.net))
        world = World(pod, upstream, canary.secret("openai key"))
        grant = policy({"service": "openai", "paths": ["/v1/**"]})
        pod.start_sidecar(
            f"{grant}\n---\n{OBSERVING}\n---\n{WATCHED_SOURCE}",
            secret(world.key),
            capture="transparent,explicit,endpoint",
            endpoints=f"{ENDPOINT_PORT}=openai",
        )
        yield world
        assert pod.sidecar.process.poll() is None
        assert world.lines("unexpected error") == []
        assert pod.sidecar.metric("podkey_fail_open_total") == 0


@pytest.fixture
def world(shared: World) -> World:
    shared.sidecar.wait_idle()
    shared.upstream.clear()
    return shared


def hash_of(token: bytes) -> str:
    """As audit records name a token."""
    claims = jwt.decode(token, options={"verify_signature": False})
    return sha256(claims["jti"].encode()).hexdigest()


# --- tokens that are renewed -----------------------------------------------------------------------------


@contextmanager
def load(world: World) -> Iterator[Counter[int | str]]:
    """Clients that ask and ask, each over a connection of its own. How they were answered."""
    answers: Counter[int | str] = Counter()
    stop = threading.Event()

    def client() -> None:
        try:
            with Session(world.pod, API) as session:
                for _ in range(MOST_REQUESTS):
                    answer = session.get(MODELS)
                    answers[answer.headers.get("podkey-reason", answer.status)] += 1
                    if stop.wait(0.005):
                        break
        except OSError as error:
            answers[repr(error)] += 1

    threads = [threading.Thread(target=client, daemon=True) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: answers[200] >= CLIENTS, "the first answers")
        yield answers
        before = sum(answers.values())
        wait_for(lambda: sum(answers.values()) >= before + 5 * CLIENTS, "answers after the last change")
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)


def test_no_request_is_refused_while_the_token_and_the_signing_key_are_renewed(world: World) -> None:
    pod, sidecar = world.pod, world.sidecar
    world.prove()
    old, new, newest = pod.issuer, TokenIssuer(algorithm="RS256"), TokenIssuer()
    verified = sidecar.metric("podkey_identity_verifications_total", outcome="verified")
    before = sidecar.audited()
    tokens = [pod.new_token(), pod.new_token()]
    with load(world) as answers:
        for token in tokens:
            world.prove(token)
        # The issuer signs with another key, and publishes the old one for a while.
        pod.issuer = new
        world.publish(new, old)
        tokens.append(pod.new_token())
        world.prove(tokens[-1])
        # And once more, by when the first key is withdrawn.
        pod.issuer = newest
        world.publish(newest, new)
        tokens.append(pod.new_token(lifetime=timedelta(hours=2)))
        world.prove(tokens[-1])

    assert set(answers) == {200}, answers
    records = sidecar.wait_audit(before + answers.total())[before:]
    assert {(one["verdict"], one["evidence"], one["status"]) for one in records} == {("attach", "token", 200)}
    # Each token has vouched for requests, with the key that signed it, and the last one for the last of them.
    signed = dict.fromkeys(map(hash_of, tokens), "")
    signed |= {one["tokenHash"]: one["keyId"] for one in records if one["tokenHash"] in signed}
    assert list(signed.values()) == [old.key_id, old.key_id, new.key_id, newest.key_id]
    last = max(records, key=lambda one: one["time"])
    assert last["tokenHash"] == hash_of(tokens[-1])
    assert world.lines("the issuer's keys")[-1]["keys"] == [newest.key_id, new.key_id]
    assert world.missing() == {}
    assert sidecar.metric("podkey_identity_verified") == 1
    claims = jwt.decode(tokens[-1], options={"verify_signature": False})
    assert sidecar.metric("podkey_identity_token_expiry_timestamp_seconds") == claims["exp"]
    outcomes = sidecar.metric("podkey_identity_verifications_total", outcome="verified")
    assert outcomes == verified + len(tokens)


@pytest.mark.parametrize("gone", [True, False], ids=["gone", "of an unknown key"])
def test_a_token_that_cannot_be_judged_leaves_the_last_proof(world: World, gone: bool) -> None:  # noqa: FBT001
    world.prove()
    token = None if gone else TokenIssuer().sign(claims_of(world.pod))

    why = world.doubt(token, "unreadable" if gone else "unknown_key")

    assert world.lines("the pod's token cannot be verified anew, the last proof counts", why=why)
    assert world.missing() == {}
    assert fetch(world.pod, API, MODELS).status == 200


# --- tokens that prove nothing ---------------------------------------------------------------------------


def claims_of(pod: SidecarPod) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(pod.new_token(), options={"verify_signature": False})
    return claims


def at(pod: SidecarPod, moment: timedelta) -> bytes:
    """The pod's token, made then and good for an hour."""
    claims, seconds = claims_of(pod), int(moment.total_seconds())
    return pod.issuer.sign({**claims, **{name: claims[name] + seconds for name in ("iat", "nbf", "exp")}})


def unsigned(pod: SidecarPod) -> bytes:
    return forged({"alg": "none", "kid": pod.issuer.key_id}, claims_of(pod), lambda _: b"")


def with_the_public_key_as_password(pod: SidecarPod) -> bytes:
    """What fooled verifiers that take the algorithm from the token (CVE-2015-9256 and its kin)."""
    public = pod.issuer._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(message: bytes) -> bytes:
        mac = HMAC(public, SHA256())
        mac.update(message)
        return mac.finalize()

    return forged(header_of(pod.issuer, alg="HS256"), claims_of(pod), sign)


def under_a_false_name(pod: SidecarPod) -> bytes:
    forger = TokenIssuer(algorithm=pod.issuer.algorithm)
    forger.key_id = pod.issuer.key_id
    return forger.sign(claims_of(pod))


BAD: Final[dict[str, tuple[Callable[[SidecarPod], bytes | None], str]]] = {
    "of another pod": (lambda pod: pod.new_token(pod="llama-1"), "wrong_pod"),
    "of the pod before": (
        lambda pod: pod.new_token(uid="11111111-1111-4222-8333-444455556666"),
        "wrong_pod",
    ),
    "of another namespace": (lambda pod: pod.new_token(namespace="prod"), "wrong_namespace"),
    "of another account": (lambda pod: pod.new_token(account="admin"), "wrong_service_account"),
    "from another node": (lambda pod: pod.new_token(node="gpu-2"), "wrong_node"),
    "for another audience": (lambda pod: pod.new_token("vault"), "wrong_audience"),
    "of another cluster": (
        lambda pod: pod.issuer.sign({**claims_of(pod), "iss": "https://other.example.com"}),
        "wrong_issuer",
    ),
    "expired": (lambda pod: at(pod, timedelta(minutes=-62)), "expired"),
    "just expired": (lambda pod: at(pod, timedelta(minutes=-60, seconds=-5)), "expired"),
    "not yet valid": (lambda pod: at(pod, timedelta(minutes=10)), "not_yet_valid"),
    "unsigned": (unsigned, "unsigned"),
    "by the public key": (with_the_public_key_as_password, "algorithm"),
    "by another key": (lambda pod: TokenIssuer().sign(claims_of(pod)), "unknown_key"),
    "under a false name": (under_a_false_name, "bad_signature"),
    "huge": (lambda _pod: b"a" * 2 * 1024 * 1024, "too_large"),
    "empty": (lambda _pod: b"", "not_a_jws"),
    "gone": (lambda _pod: None, "unreadable"),
}


@pytest.mark.parametrize(("make", "code"), BAD.values(), ids=BAD)
def test_a_bad_token_proves_nothing_and_its_fault_is_named_everywhere(
    world: World, canary: Canary, make: Callable[[SidecarPod], bytes | None], code: str
) -> None:
    world.unprove()  # so that no last proof counts
    before = world.sidecar.metric("podkey_identity_verifications_total", outcome=code)
    token = make(world.pod)
    if token and len(token) < 10_000:
        canary.remember(token.decode(), "the token")
    canary.watch(world.sidecar.log_file, "the sidecar's log")

    why = world.doubt(token, code)

    (answer,) = wait_for(lambda: refused_because(world, why), "the refusal")
    assert (answer.status, answer.headers["podkey-reason"]) == (403, "identity_unverified")
    assert world.missing() == {"identity": why}
    assert world.sidecar.metric("podkey_identity_verifications_total", outcome=code) == before + 1
    assert world.sidecar.metric("podkey_identity_verified") == 0
    assert world.upstream.received == 0
    # Whatever is not governed is nobody's business.
    with tls(world.pod, FILES, ca=world.pod.authority.file) as sock:
        assert ask(sock, f"GET /x HTTP/1.1\r\nHost: {FILES}\r\n\r\n".encode()).status == 200


def refused_because(world: World, why: str) -> list[Answer]:
    """The log comes first, by some microseconds."""
    answer = fetch(world.pod, API, MODELS)
    return [answer] if why in json.loads(answer.body)["error"]["message"] else []


def test_a_bad_token_ends_a_good_proof_within_a_look_and_the_next_good_one_restores_it(world: World) -> None:
    world.prove()
    with Session(world.pod, API) as session:
        assert session.get(MODELS).status == 200

        world.doubt(world.pod.new_token(pod="llama-7"), "wrong_pod")
        wait_for(lambda: session.get(MODELS).status == 403, "the refusal")
        assert "identity" in world.missing()

        world.prove()
        wait_for(lambda: session.get(MODELS).status == 200, "the end of it")
    assert world.missing() == {}
    assert [request.header("authorization") for request in world.upstream.requests] == [
        [f"Bearer {world.key}"]
    ] * 2


# --- every way in ----------------------------------------------------------------------------------------


def head(path: str, host: str = API, *lines: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode()


def transparent(world: World) -> RawAnswer:
    return talk(world.pod, head(MODELS), name=API, answers=1).only


def observed(world: World) -> RawAnswer:
    return talk(world.pod, head("/x", WATCHED), name=WATCHED, answers=1).only


def http2(world: World) -> RawAnswer:
    fields: list[Field] = [
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":path", MODELS.encode()),
        (b":authority", API.encode()),
    ]
    client = Http2()
    client.open(1, fields)
    answer = client.read(talk(world.pod, client.sent, name=API, alpn=["h2"], streams=1).data)[1]
    assert isinstance(answer, RawAnswer), answer
    return answer


def explicit(world: World) -> RawAnswer:
    with world.pod.dial("127.0.0.1", EXPLICIT_PORT) as plain:
        plain.sendall(f"CONNECT {API}:443 HTTP/1.1\r\nHost: {API}:443\r\n\r\n".encode())
        assert plain.recv(1000).startswith(b"HTTP/1.1 200 ")
        context = ssl.create_default_context(cafile=world.pod.ca)
        with context.wrap_socket(plain, server_hostname=API) as sock:
            return ask(sock, head(MODELS))


def endpoint(world: World) -> RawAnswer:
    url = urlsplit(world.pod.endpoints()["OPENAI_BASE_URL"])
    with world.pod.dial("127.0.0.1", ENDPOINT_PORT) as sock:
        sock.sendall(head(f"{url.path}/models", url.netloc, "Connection: close"))
        data = b"".join(iter(lambda: sock.recv(65_536), b""))
    return read_answers(data)[-1]


def upgraded(world: World) -> RawAnswer:
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    with tls(world.pod, API) as sock:
        sock.sendall(head("/v1/socket", API, *upgrade, key))
        data = b""
        while not any(answer.whole for answer in read_answers(data)):
            data += sock.recv(65_536)
    return read_answers(data)[0]


WAYS: Final = (transparent, http2, explicit, endpoint, upgraded, observed)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_while_nothing_is_proved_no_way_in_leads_to_an_upstream(
    world: World, way: Callable[[World], RawAnswer]
) -> None:
    why = world.unprove()
    before = world.sidecar.audited()

    answer = way(world)

    assert (answer.status, answer.reason) == (403, "identity_unverified")
    assert why.encode() in answer.body
    assert world.upstream.received == 0
    (record,) = world.sidecar.wait_audit(before + 1)[before:]
    told = {name: record[name] for name in ("verdict", "reason", "evidence", "credential", "ending")}
    assert told == {
        "verdict": "refuse",
        "reason": "identity_unverified",
        "evidence": "unverified",
        "credential": "",
        "ending": "refused",
    }
    assert (record["keyId"], record["tokenHash"], record["tokenExpires"]) == ("", "", None)


def test_the_same_ways_lead_there_once_it_is_proved(world: World) -> None:
    world.prove()

    statuses = {way.__name__: way(world).status for way in WAYS}

    assert statuses == {**dict.fromkeys(statuses, 200), "upgraded": 101}
    assert datetime.now(UTC).timestamp() < world.sidecar.metric(
        "podkey_identity_token_expiry_timestamp_seconds"
    )
