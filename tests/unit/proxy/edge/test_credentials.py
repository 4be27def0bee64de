"""The way from a pod's token to its proof and to a lease, with real files and a real TLS server."""

import asyncio
import gc
import json
import ssl
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.core.evidence import Evidence, Unverified
from proxy.core.lease import Lease
from proxy.core.settings import ProxySettings
from proxy.documents.settings import read_settings
from proxy.edge.attestation import Attested
from proxy.edge.clock import SystemClock
from proxy.edge.credentials import CLUSTER_CA_FIX, ClusterDoor, Credentials
from proxy.edge.metrics import Metrics
from proxy.edge.outgoing import OutgoingCall
from proxy.edge.outgoing_faults import AskOutcome
from proxy.edge.trust import PodTrust
from proxy.sources.steps import HttpCall, HttpReply, StepFailed
from tests.canary import Canary
from tests.lane_world import GOVERNING
from tests.lease_world import MOUNTED, OAUTH, TestLog, key_of
from tests.pod_tokens import TokenIssuer, jwks
from tests.source_servers import Asked, EgressProxyServer, SourceServer, answering
from tests.upstream_authority import UpstreamAuthority
from tests.upstreams import tls_context as server_context

# A public issuer has a certificate like everybody's, and gets no token.
PUBLIC = {"PODKEY_DISCOVERY_CA_FILE": "-", "PODKEY_DISCOVERY_TOKEN_FILE": "-"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> UpstreamAuthority:
    """Signs the API server's certificate, and is trusted for nothing else."""
    return UpstreamAuthority(tmp_path_factory.mktemp("cluster") / "authority")


@pytest.fixture(scope="module")
def internet(tmp_path_factory: pytest.TempPathFactory) -> UpstreamAuthority:
    return UpstreamAuthority(tmp_path_factory.mktemp("internet") / "authority")


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_left_open() -> Iterator[None]:
    """What a connection leaves behind warns when it is collected, and warnings are errors."""
    yield
    gc.collect()


def serving(authority: UpstreamAuthority, answer: Any = None) -> SourceServer:
    context = server_context(*authority.certificate("localhost", "127.0.0.1"))
    return SourceServer(context, answer or answering(200, b"{}"))


class House:
    def __init__(self, folder: Path, cluster: UpstreamAuthority, internet: UpstreamAuthority) -> None:
        self.folder = folder
        for name in ("secrets", "tokens", "ca"):
            (folder / name).mkdir()
        self.variables = {
            "PODKEY_NAMESPACE": "ml",
            "PODKEY_SERVICE_ACCOUNT": "trainer",
            "PODKEY_SECRETS_DIR": str(folder / "secrets"),
            "PODKEY_TOKENS_DIR": str(folder / "tokens"),
            "PODKEY_STATE_DIR": str(folder / "state"),
            "PODKEY_TRUST_DIR": str(folder / "ca"),
            "PODKEY_ROOTS_FILE": str(internet.file),
            "PODKEY_DISCOVERY_CA_FILE": str(cluster.file),
            "PODKEY_DISCOVERY_TOKEN_FILE": str(folder / "tokens" / "kubernetes"),
        }
        self.clock = SystemClock()
        self.issuer = TokenIssuer()
        self.metrics = Metrics()
        self.log = TestLog()
        self.published: list[Attested] = []
        self.calls: list[OutgoingCall] = []

    @property
    def settings(self) -> ProxySettings:
        found = read_settings(self.variables)
        assert isinstance(found, ProxySettings), found
        return found

    @property
    def trust(self) -> PodTrust:
        settings = self.settings
        trust = PodTrust.open(
            self.folder / "state",
            self.folder / "ca",
            settings.trust,
            "ml/train-0",
            self.clock.now,
        )
        assert isinstance(trust, PodTrust), trust
        return trust

    def door(self) -> ClusterDoor:
        return ClusterDoor(self.settings, self.trust, self.calls.append)

    def credentials(self) -> Credentials:
        return Credentials(
            self.settings,
            self.trust,
            self.clock,
            lambda: GOVERNING,
            self.published.append,
            self.metrics,
            self.log,
        )

    def write_token(self, name: str = "podkey", **who: Any) -> None:
        (self.folder / "tokens" / name).write_bytes(self.issuer.token(self.clock.now(), **who))

    def metric(self, name: str) -> float:
        lines = self.metrics.exposition()[0].decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


@pytest.fixture
def house(tmp_path: Path, cluster: UpstreamAuthority, internet: UpstreamAuthority) -> House:
    return House(tmp_path, cluster, internet)


def live(work: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(20):
            await work()

    asyncio.run(run())


# --- the door to the cluster -------------------------------------------------------------------------


def test_the_api_server_is_known_by_the_clusters_authority_and_by_no_other(
    house: House, cluster: UpstreamAuthority, internet: UpstreamAuthority
) -> None:
    async def work() -> None:
        async with serving(cluster) as right, serving(internet) as wrong:
            reply = await house.door().call(HttpCall("GET", f"https://localhost:{right.port}/"))
            assert isinstance(reply, HttpReply)
            refused = await house.door().call(HttpCall("GET", f"https://localhost:{wrong.port}/"))
            assert isinstance(refused, StepFailed)
            assert "is not trusted" in refused.message
            assert CLUSTER_CA_FIX in refused.message
            assert wrong.requests == []

    live(work)

    assert [call.outcome for call in house.calls] == [AskOutcome.OK, AskOutcome.UNTRUSTED]


def test_the_clusters_authority_may_be_replaced_while_the_sidecar_runs(
    house: House, cluster: UpstreamAuthority, internet: UpstreamAuthority
) -> None:
    file = house.folder / "ca.crt"
    file.write_bytes(internet.file.read_bytes())
    house.variables["PODKEY_DISCOVERY_CA_FILE"] = str(file)

    async def work() -> None:
        async with serving(cluster) as server:
            door, call = house.door(), HttpCall("GET", f"https://localhost:{server.port}/")
            assert isinstance(await door.call(call), StepFailed)
            file.write_bytes(cluster.file.read_bytes())
            assert isinstance(await door.call(call), HttpReply)

    live(work)


def test_without_the_clusters_authority_nobody_is_asked(house: House) -> None:
    house.variables["PODKEY_DISCOVERY_CA_FILE"] = str(house.folder / "missing.crt")

    async def work() -> None:
        failed = await house.door().call(HttpCall("GET", "https://localhost:1/"))
        assert isinstance(failed, StepFailed)
        assert "missing.crt cannot be read: No such file" in failed.message

    live(work)
    assert house.calls == []


def test_a_public_issuer_is_known_by_the_roots_of_sources(
    house: House, cluster: UpstreamAuthority, internet: UpstreamAuthority
) -> None:
    house.variables |= PUBLIC

    async def work() -> None:
        async with serving(internet) as right, serving(cluster) as wrong:
            replies = [
                await house.door().call(HttpCall("GET", f"https://localhost:{server.port}/"))
                for server in (right, wrong)
            ]
            assert [type(reply) for reply in replies] == [HttpReply, StepFailed]

    live(work)


@pytest.mark.parametrize(("public", "through"), [(True, 1), (False, 0)])
def test_a_public_issuer_is_asked_through_the_companys_proxy_and_the_cluster_is_not(
    house: House, cluster: UpstreamAuthority, internet: UpstreamAuthority, *, public: bool, through: int
) -> None:
    if public:
        house.variables |= PUBLIC

    async def work() -> None:
        async with EgressProxyServer() as proxy, serving(internet if public else cluster) as server:
            house.variables["PODKEY_EGRESS_PROXY"] = f"http://127.0.0.1:{proxy.port}"
            reply = await house.door().call(HttpCall("GET", f"https://localhost:{server.port}/"))
            assert isinstance(reply, HttpReply)
            assert len(proxy.asked) == through

    live(work)


# --- from the token to the proof ---------------------------------------------------------------------


def api_server(cluster: UpstreamAuthority, issuer: TokenIssuer, rights: str) -> SourceServer:
    """Answers whoever has this token, as the API server does."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        if asked.headers.get("authorization") != f"Bearer {rights}":
            return await answering(403)(asked, writer)
        body = {
            "/.well-known/openid-configuration": json.dumps(
                {"issuer": issuer.issuer, "jwks_uri": "https://10.0.0.1:6443/openid/v1/jwks"}
            ).encode(),
            "/openid/v1/jwks": jwks(issuer),
        }[asked.target]
        return await answering(200, body)(asked, writer)

    return serving(cluster, answer)


def test_a_token_is_proved_with_the_keys_of_the_api_server(
    house: House, cluster: UpstreamAuthority, canary: Canary
) -> None:
    rights = canary.secret("the token for the API server")
    (house.folder / "tokens" / "kubernetes").write_text(rights)
    house.write_token()

    async def work() -> None:
        async with api_server(cluster, house.issuer, rights) as server:
            house.variables["PODKEY_DISCOVERY_URL"] = f"https://localhost:{server.port}"
            credentials = house.credentials()
            await credentials.attestation.step()
            await credentials.close()

    live(work)

    (attested,) = house.published
    assert isinstance(attested.proof, Evidence)
    assert attested.proof.key_id == house.issuer.key_id
    assert house.metric("podkey_identity_verified") == 1
    ends = attested.proof.expires.timestamp()
    assert house.metric("podkey_identity_token_expiry_timestamp_seconds") == ends
    assert house.metric('podkey_identity_verifications_total{outcome="verified"}') == 1
    # Discovery and keys are counted with the requests to sources.
    assert house.metric('podkey_source_requests_total{outcome="ok"}') == 2


def test_a_pod_that_may_not_ask_is_told_what_it_lacks(
    house: House, cluster: UpstreamAuthority, canary: Canary
) -> None:
    (house.folder / "tokens" / "kubernetes").write_text(canary.secret("a token without rights"))
    house.write_token()

    async def work() -> None:
        async with api_server(cluster, house.issuer, canary.secret("another's token")) as server:
            house.variables["PODKEY_DISCOVERY_URL"] = f"https://localhost:{server.port}"
            credentials = house.credentials()
            await credentials.attestation.step()
            await credentials.close()

    live(work)

    (attested,) = house.published
    assert isinstance(attested.proof, Unverified)
    assert "system:service-account-issuer-discovery" in attested.proof.message
    assert house.metric("podkey_identity_verified") == 0
    assert house.metric("podkey_identity_token_expiry_timestamp_seconds") == 0
    assert house.metric('podkey_identity_verifications_total{outcome="no_keys"}') == 1


def test_with_keys_in_a_file_nobody_is_asked_and_the_audience_names_the_token(house: House) -> None:
    (house.folder / "jwks.json").write_bytes(jwks(house.issuer))
    house.variables |= {
        "PODKEY_JWKS_FILE": str(house.folder / "jwks.json"),
        "PODKEY_ISSUER": house.issuer.issuer,
        "PODKEY_AUDIENCE": "https://podkey.example.com",
    }
    house.write_token()  # of the other audience, under the other name

    async def work() -> None:
        credentials = house.credentials()
        await credentials.attestation.step()
        proof = house.published[-1].proof
        assert isinstance(proof, Unverified)
        (name,) = [word for word in proof.message.split("/") if word.startswith("sha256-")]
        house.write_token(name.split()[0], audience="https://podkey.example.com")
        await credentials.attestation.step()
        await credentials.close()

    live(work)

    assert isinstance(house.published[-1].proof, Evidence)
    assert house.metric("podkey_source_requests_total") == 0


# --- to a lease --------------------------------------------------------------------------------------


def test_leases_are_fetched_from_the_mounted_folders_and_counted(house: House, canary: Canary) -> None:
    (house.folder / "secrets" / "key").mkdir()
    (house.folder / "secrets" / "key" / "k").write_text(canary.secret("mounted"))

    async def work() -> None:
        credentials = house.credentials()
        credentials.leases.use([key_of(MOUNTED)])
        assert isinstance(await credentials.leases.lease(key_of(MOUNTED)), Lease)
        await credentials.close()

    live(work)
    assert house.metric('podkey_lease_events_total{event="acquired"}') == 1


def test_sources_are_asked_with_the_roots_of_upstreams_and_not_the_clusters(
    house: House, cluster: UpstreamAuthority, internet: UpstreamAuthority, canary: Canary
) -> None:
    (house.folder / "secrets" / "client").mkdir()
    (house.folder / "secrets" / "client" / "secret").write_text(canary.secret("client secret"))
    token = canary.secret("token")
    answer = answering(
        200,
        json.dumps({"access_token": token, "token_type": "Bearer", "expires_in": 3600}).encode(),
        {"Content-Type": "application/json"},
    )

    async def work() -> None:
        async with serving(internet, answer) as right, serving(cluster, answer) as wrong:
            credentials = house.credentials()
            kinds = [
                type(OAUTH)(f"https://localhost:{server.port}/token", OAUTH.client_id, OAUTH.auth)
                for server in (right, wrong)
            ]
            keys = [key_of(kind, name) for kind, name in zip(kinds, "ab", strict=True)]
            credentials.leases.use(keys)
            replies = [await credentials.leases.lease(key) for key in keys]
            await credentials.close()
            assert [isinstance(reply, Lease) for reply in replies] == [True, False]
            assert wrong.requests == []

    live(work)
    assert house.metric('podkey_source_requests_total{outcome="untrusted"}') == 1


def test_every_context_is_one_that_verifies(house: House) -> None:
    assert house.credentials()._door._context().verify_mode is ssl.CERT_REQUIRED
