"""The sidecar's life: everything is built once here, and taken down in the opposite order.

It is ready when it has an authority, an identity, a policy and its listeners. What is missing is waited for
and named at /readyz; until then nothing listens, so that a redirected connection is refused and not let
through.
"""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from time import monotonic
from typing import Final, TypeVar

from proxy.core.contract import ENDPOINTS_FILE
from proxy.core.identity import WorkloadIdentity
from proxy.core.services import Catalogue
from proxy.core.settings import Capture, ProxySettings
from proxy.documents.setting_values import SettingProblem
from proxy.edge.admin import AdminServer, Readiness
from proxy.edge.authority import TrustProblem, replace_file
from proxy.edge.clock import SystemClock, new_request_id
from proxy.edge.endpoints import (
    BoundEndpoint,
    EndpointDoor,
    base_urls,
    bind_endpoints,
    load_or_make_token,
    path_prefix,
)
from proxy.edge.explicit import ExplicitProxy
from proxy.edge.leases import SecretLeases
from proxy.edge.pod_files import PodFiles
from proxy.edge.policy_state import LoadedPolicy, PolicyFolder, PolicyState
from proxy.edge.reception import Reception, Serve
from proxy.edge.recorder import EdgeRecorder, Log
from proxy.edge.routing import Lanes, Router
from proxy.edge.sockets import connections_that_fit, listen_on_loopback
from proxy.edge.telemetry import Metrics
from proxy.edge.trust import PodTrust
from proxy.edge.watch import FolderWatch
from proxy.lanes.interface import LaneWorld
from proxy.lanes.mitm.client_tls import ClientTls
from proxy.lanes.mitm.lane import MitmproxyLane
from proxy.lanes.mitm.upstream_tls import UpstreamTls
from proxy.lanes.relay import Relay
from proxy.lanes.unopened import Unopened

# While something is missing at the start, it is looked for this often.
RETRY_SECONDS: Final = 1.0
# The authority lives for days; to notice an hour late that a third of its life is left costs nothing.
RENEWAL_SECONDS: Final = 3600.0

Found = TypeVar("Found")
# Why a part is missing, for people.
Trouble = str


class Sidecar:
    def __init__(  # noqa: PLR0917 - the parts of one process
        self,
        settings: ProxySettings,
        catalogue: Catalogue,
        metrics: Metrics,
        recorder: EdgeRecorder,
        log: Log,
        stop: asyncio.Event,
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._metrics = metrics
        self._recorder = recorder
        self._log = log
        self._stop = stop
        self._clock = SystemClock()
        self._readiness = Readiness()
        self._reception: Reception | None = None
        self._replacing = asyncio.Lock()
        self._background: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """From start to drained end."""
        listeners = self._settings.listeners
        admin = AdminServer(self._readiness, self._metrics.exposition)
        await admin.start(listeners.admin_address, listeners.admin_port)
        try:
            reception = self._reception = await self._open()
            if reception is not None:
                await self._stop.wait()
                await self._drain(reception)
        finally:
            for task in self._background:
                task.cancel()
            await asyncio.gather(*self._background, return_exceptions=True)
            await admin.close()

    def hurry(self) -> None:
        """Told to stop a second time: what is still on its way is cut, and recorded."""
        if self._reception is not None:
            self._reception.hurry()

    # --- start ---

    async def _open(self) -> Reception | None:
        """All parts in their order. None: it was told to stop before it had them."""
        trust = await self._until("authority", self._open_trust)
        identity = await self._until("identity", self._read_identity) if trust else None
        policy = await self._until("policy", self._read_policy) if identity else None
        if trust is None or identity is None or policy is None:
            return None
        leases = SecretLeases(
            Path(self._settings.folders.secrets), self._clock, self._count_lease(self._metrics)
        )
        placeholders = await self._until("identity", self._read_placeholders)
        if placeholders is None:
            return None
        state = PolicyState(policy, identity, placeholders, leases.use)
        self._watch(trust, state, leases)
        reception = await self._until("listener", lambda: self._listen(trust, state, leases))
        if reception is not None:
            self._metrics.ready(ready=True)
            self._log.info("ready", policy=policy.sha256, documents=policy.counted)
        return reception

    async def _until(self, part: str, attempt: Callable[[], Found | Trouble]) -> Found | None:
        """What the attempt finds, as soon as it finds it."""
        told = ""
        while not self._stop.is_set():
            found = attempt()
            if not isinstance(found, str):
                self._readiness.ok(part)
                return found
            self._readiness.failed(part, found)
            if found != told:
                self._log.error("not ready", part=part, why=found)
                told = found
            try:
                async with asyncio.timeout(RETRY_SECONDS):
                    await self._stop.wait()
            except TimeoutError:
                pass
        return None

    @property
    def _private(self) -> Path:
        """Below the mounted volume, which belongs to root and is open to all, a folder that is ours alone."""
        return Path(self._settings.folders.state) / "private"

    def _open_trust(self) -> PodTrust | Trouble:
        folders, pod = self._settings.folders, self._settings.pod
        try:
            # In a pod it is a mounted volume; elsewhere we make it.
            Path(folders.state).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            return f"{folders.state}: {error.strerror}; set PODKEY_STATE_DIR to a folder that can be written"
        trust = PodTrust.open(
            self._private,
            Path(folders.trust),
            self._settings.trust,
            f"{pod.namespace}/{pod.pod_name or pod.service_account}",
            self._clock.now,
        )
        if isinstance(trust, TrustProblem):
            return str(trust)
        for note in trust.notes:
            self._log.warning("certificates", note=note)
        self._metrics.authority_expires(trust.authority.ends)
        return trust

    @property
    def _pod_files(self) -> PodFiles:
        return PodFiles(self._settings)

    def _read_identity(self) -> WorkloadIdentity | Trouble:
        found = self._pod_files.identity()
        return f"{found.name}: {found.message}; {found.fix}" if isinstance(found, SettingProblem) else found

    def _read_placeholders(self) -> frozenset[str] | Trouble:
        found = self._pod_files.placeholders()
        return f"{found.name}: {found.message}; {found.fix}" if isinstance(found, SettingProblem) else found

    @property
    def _policy_folder(self) -> PolicyFolder:
        return PolicyFolder(Path(self._settings.folders.policy), self._catalogue)

    def _read_policy(self) -> LoadedPolicy | Trouble:
        loaded = self._policy_folder.load()
        if isinstance(loaded, LoadedPolicy):
            self._metrics.policy_applied(loaded.sha256, self._clock.now())
        return loaded

    # --- what goes on beside requests ---

    def _watch(self, trust: PodTrust, state: PolicyState, leases: SecretLeases) -> None:
        folder = self._policy_folder
        policy = FolderWatch(
            [folder.path],
            folder.read,
            lambda files: self._go(self._replace_policy(folder, state, dict(files))),
            self._policy_unreadable,
            state.files,
        )
        self._keep_going(lambda: policy.run(monotonic))
        labels = self._pod_files.watch(state.replace_identity, self._log)
        if labels is not None:
            self._keep_going(lambda: labels.run(monotonic))
        self._keep_going(lambda: self._renew(trust))
        self._keep_going(lambda: self._gauge(trust, leases))

    def _policy_unreadable(self, error: OSError) -> None:
        self._log.error("the policy folder cannot be read, the old policy stays", why=error.strerror)

    def _keep_going(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """In the background, until the end: work that breaks is told, and begins again."""

        async def again_and_again() -> None:
            while True:
                try:
                    await work()
                except Exception as error:  # noqa: BLE001 - requests go on with what was in force
                    self._recorder.crashed("background", error)
                await asyncio.sleep(RETRY_SECONDS)

        self._go(again_and_again())

    def _go(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _replace_policy(
        self, folder: PolicyFolder, state: PolicyState, files: dict[str, bytes]
    ) -> None:
        # One after the other, in the order in which they were seen. In a thread: ten thousand documents take
        # two seconds, and requests go on meanwhile.
        async with self._replacing:
            try:
                loaded = await asyncio.to_thread(folder.compile, files)
            except Exception as error:  # noqa: BLE001 - a policy that breaks us must not be in force
                self._recorder.crashed("policy", error)
                loaded = "podkey failed on it"
            if isinstance(loaded, LoadedPolicy):
                state.replace_policy(loaded)
                self._metrics.policy_applied(loaded.sha256, self._clock.now())
                self._log.info("policy applied", policy=loaded.sha256, documents=loaded.counted)
            else:
                self._metrics.policy_rejected()
                self._log.error(
                    "policy rejected, the old one stays in force", policy=state.sha256, why=loaded
                )

    async def _renew(self, trust: PodTrust) -> None:
        while True:
            await asyncio.sleep(RENEWAL_SECONDS)
            renewed = trust.renew_when_due(self._clock.now())
            if isinstance(renewed, TrustProblem):
                self._log.error("the authority could not be renewed", why=str(renewed))
            elif renewed:
                self._metrics.authority_expires(trust.authority.ends)
                self._log.info("the authority was renewed", ends=trust.authority.ends.isoformat())

    async def _gauge(self, trust: PodTrust, leases: SecretLeases) -> None:
        """What is not counted where it happens."""
        while True:
            self._metrics.leases(leases.live, leases.failed)
            self._metrics.certificates(trust.leaves.minted, trust.leaves.cached)
            self._recorder.tell_of_long_ones()
            await asyncio.sleep(1.0)

    @staticmethod
    def _count_lease(metrics: Metrics) -> Callable[[str], None]:
        return lambda outcome: metrics.lease_fetched(ok=outcome == "acquired")

    # --- listeners ---

    def _listen(self, trust: PodTrust, state: PolicyState, leases: SecretLeases) -> Reception | Trouble:
        listeners, timeouts = self._settings.listeners, self._settings.timeouts
        world = LaneWorld(state, leases, self._recorder, self._clock, new_request_id, timeouts)
        governed = MitmproxyLane(world, ClientTls(trust), UpstreamTls(trust.upstreams.certificates))
        lanes = Lanes(Relay(world), governed, Unopened(world))
        router = Router(state, lanes, self._recorder, timeouts.header)
        fitting = connections_that_fit(listeners.max_connections)
        if fitting < listeners.max_connections:
            fix = "raise the container's limit of open files, or lower PODKEY_MAX_CONNECTIONS"
            self._log.warning("too few file descriptors", connections=fitting, fix=fix)
        reception = Reception(fitting, self._recorder)
        bound, problems = bind_endpoints(listeners.endpoints, state().policies.catalogue)
        if problems:
            return "; ".join(f"{problem.name}: {problem.message}; {problem.fix}" for problem in problems)
        doors: dict[int, Serve] = {}
        if Capture.TRANSPARENT in listeners.capture:
            doors[listeners.transparent_port] = router.redirected
        if bound:
            try:
                prefix = self._publish(bound)
            except OSError as error:
                return f"the endpoints cannot be published: {error.filename}: {error.strerror}"
            doors |= {one.port: EndpointDoor(one, prefix, governed).serve for one in bound}
        if Capture.EXPLICIT in listeners.capture:
            # Also where the redirect leads to, whether we listen there or not.
            own = frozenset(
                {*doors, listeners.transparent_port, listeners.explicit_port, listeners.admin_port}
            )
            explicit = ExplicitProxy(router, lanes.relay, lanes.unopened, own, timeouts.header)
            doors[listeners.explicit_port] = explicit.serve
        for port, serve in doors.items():
            try:
                reception.open_door(listen_on_loopback(port), serve)
            except OSError as error:
                reception.close_doors()
                return f"cannot listen on port {port}: {error.strerror}; another process may hold it"
        return reception

    def _publish(self, bound: list[BoundEndpoint]) -> str:
        """Tell the application its base URLs, and return the path prefix that they have."""
        prefix = path_prefix(load_or_make_token(self._private))
        text = "\n".join((*base_urls(bound, prefix), ""))
        replace_file(Path(self._settings.folders.trust) / ENDPOINTS_FILE, text.encode(), 0o644)
        return prefix

    # --- end ---

    async def _drain(self, reception: Reception) -> None:
        self._readiness.draining()
        self._metrics.ready(ready=False)
        self._log.info("draining", connections=reception.open_connections)
        cut = await reception.drain(self._settings.timeouts.drain)
        self._log.info("drained", cut=cut)
