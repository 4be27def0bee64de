"""The sidecar's life: everything is built once here, and taken down in the opposite order.

It is ready when it has an authority, a policy, its listeners, and proof of who the pod is. What is missing is
named at /readyz. Without the first two nothing listens, so that a redirected connection is refused and not
let through; without the proof requests to governed hosts are refused one by one, with a reason.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Final, TypeVar

from proxy.core.contract import CONTROL_SOCKET
from proxy.core.evidence import Unverified
from proxy.core.identity import WorkloadIdentity
from proxy.core.lease import LeaseKey
from proxy.core.policy import Mode
from proxy.core.services import Catalogue
from proxy.core.settings import ProxySettings
from proxy.documents.setting_values import SettingProblem
from proxy.edge.admin import AdminServer, Readiness
from proxy.edge.attestation import Attested
from proxy.edge.authority import TrustProblem
from proxy.edge.clock import SystemClock, new_request_id
from proxy.edge.control import ControlSocket
from proxy.edge.credentials import Credentials
from proxy.edge.doors import Doors
from proxy.edge.hardening import give_back
from proxy.edge.lease_keeper import LeaseKeeper
from proxy.edge.metrics import Metrics
from proxy.edge.pod_files import PodFiles
from proxy.edge.policy_state import LoadedPolicy, PolicyFolder, PolicyState, RejectedPolicy
from proxy.edge.reception import Reception
from proxy.edge.recorder import EdgeRecorder
from proxy.edge.trust import PodTrust
from proxy.files.watch import FolderWatch
from proxy.lanes.interface import LaneWorld
from proxy.lanes.room import Room
from proxy.telemetry.log import Log
from proxy.transaction.pod import PodState

# While something is missing at the start, it is looked for this often.
RETRY_SECONDS: Final = 1.0
# Listeners wait so long for the first proof, so that the first request finds one: an API server answers in
# milliseconds. Whatever is not governed does not wait for one that is slow.
FIRST_PROOF_SECONDS: Final = 2.0
# The authority lives for days; to notice an hour late that a third of its life is left costs nothing.
RENEWAL_SECONDS: Final = 3600.0
# A policy that was changed is in force within a second: it is noticed, read twice, and compiled.
POLICY_PERIOD: Final = 0.2

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
        self._credentials: Credentials | None = None
        self._control: ControlSocket | None = None
        self._world: LaneWorld | None = None
        self._doors: Doors | None = None
        self._was_ready = False

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
            if self._control is not None:
                await self._control.close()
            if self._credentials is not None:
                await self._credentials.close()
            await admin.close()

    def hurry(self) -> None:
        """Told to stop a second time: what is still on its way is cut, and recorded."""
        if self._reception is not None:
            self._reception.hurry()

    # --- start ---

    async def _open(self) -> Reception | None:
        """All parts in their order. None: it was told to stop before it had them."""
        trust = await self._until("authority", self._open_trust)
        identity = await self._until("pod", self._read_identity) if trust else None
        policy = await self._until("policy", self._read_policy) if identity else None
        if trust is None or identity is None or policy is None:
            return None
        placeholders = await self._until("pod", self._read_placeholders)
        if placeholders is None:
            return None
        state = PolicyState(
            policy,
            identity,
            placeholders,
            self._state_changed,
            self._clock.now,
            hashed_body_limit=self._settings.bodies.hashed_limit,
        )
        credentials = self._credentials = self._prepare(trust, state)
        world = self._world = self._lane_world(state, credentials.leases)
        self._state_changed(state())
        await self._open_control(credentials.leases)
        self._watch(trust, state, credentials)
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_PROOF_SECONDS):
                await credentials.attestation.looked.wait()
        doors = self._doors = Doors(self._settings, trust, self._private, self._recorder, self._log)
        reception = await self._until("listener", lambda: doors.open(state, world))
        if reception is not None:
            give_back()
            self._log.info("listening", policy=policy.sha256, documents=policy.counted)
            if self._settings.pod.mode is Mode.OBSERVE:
                self._log.warning("nothing is refused: this pod only observes", setting="PODKEY_MODE")
            self._show_readiness()
        return reception

    def _prepare(self, trust: PodTrust, state: PolicyState) -> Credentials:
        def publish(attested: Attested) -> None:
            state.replace_proof(attested)
            if isinstance(attested.proof, Unverified):
                self._readiness.failed("identity", attested.proof.message)
            else:
                self._readiness.ok("identity")
            self._show_readiness()

        return Credentials(
            self._settings,
            trust,
            self._clock,
            state,
            publish,
            self._metrics,
            self._log,
        )

    def _lane_world(self, state: PolicyState, leases: LeaseKeeper) -> LaneWorld:
        timeouts = self._settings.timeouts
        room = Room(self._settings.bodies.held_limit)
        return LaneWorld(state, leases, self._recorder, self._clock, new_request_id, timeouts, room=room)

    def _state_changed(self, state: PodState) -> None:
        """Leases that nothing names any more end, and requests that would not be granted now; what will be
        needed is loaded."""
        if self._credentials is not None:
            self._credentials.leases.use(key for key in state.leases.values() if isinstance(key, LeaseKey))
        if self._world is not None:
            self._world.in_flight.recheck(state)
        if self._doors is not None:
            self._doors.expect(state)

    async def _open_control(self, leases: LeaseKeeper) -> None:
        """Without it everything else works, so what is wrong with it is told and no more."""
        path = Path(self._settings.folders.state) / CONTROL_SOCKET

        def refused(uid: int) -> None:
            self._log.warning("a stranger asked for the leases", uid=uid)

        control = ControlSocket(path, leases, refused)
        try:
            await control.open()
        except OSError as error:
            self._log.warning(
                "`podkey leases` cannot be asked", socket=str(path), why=error.strerror or str(error)
            )
        else:
            self._control = control

    def _show_readiness(self) -> None:
        ready = not self._readiness.missing()
        if ready and not self._was_ready:
            self._log.info("ready")
        self._was_ready = ready
        self._metrics.ready(ready=ready)

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
        return PolicyFolder(Path(self._settings.folders.policy), self._catalogue, self._settings.pod.mode)

    def _read_policy(self) -> LoadedPolicy | Trouble:
        loaded = self._policy_folder.load()
        if isinstance(loaded, RejectedPolicy):
            return loaded.why
        self._metrics.policy_applied(loaded.sha256, self._clock.now())
        return loaded

    # --- what goes on beside requests ---

    def _watch(self, trust: PodTrust, state: PolicyState, credentials: Credentials) -> None:
        folder = self._policy_folder
        policy = FolderWatch(
            [folder.path],
            folder.read,
            lambda files: self._go(self._replace_policy(folder, state, dict(files))),
            self._policy_unreadable,
            state.files,
        )
        self._keep_going(lambda: policy.run(monotonic, POLICY_PERIOD))
        labels = self._pod_files.watch(state.replace_identity, self._log)
        if labels is not None:
            self._keep_going(lambda: labels.run(monotonic))
        self._keep_going(lambda: self._renew(trust))
        self._keep_going(credentials.attestation.run)
        self._keep_going(credentials.leases.keep)
        self._keep_going(lambda: self._gauge(trust, credentials.leases))

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
                loaded = RejectedPolicy("podkey failed on it")
            if isinstance(loaded, LoadedPolicy):
                state.replace_policy(loaded)
                self._metrics.policy_applied(loaded.sha256, self._clock.now())
                self._log.info("policy applied", policy=loaded.sha256, documents=loaded.counted)
            else:
                self._metrics.policy_rejected()
                self._log.error(
                    "policy rejected, the old one stays in force", policy=state.sha256, why=loaded.why
                )
                gone = state.withdraw(loaded)
                if gone.sources or gone.policies:
                    self._log.warning(
                        "what was removed does not count any more, though the policy was rejected",
                        credentials=gone.sources,
                        policies=gone.policies,
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

    async def _gauge(self, trust: PodTrust, leases: LeaseKeeper) -> None:
        """What is not counted where it happens."""
        while True:
            self._metrics.leases(leases.live, leases.failing)
            self._metrics.certificates(trust.leaves.minted, trust.leaves.cached)
            self._recorder.tell_of_long_ones()
            await asyncio.sleep(1.0)

    # --- end ---

    async def _drain(self, reception: Reception) -> None:
        self._readiness.draining()
        self._metrics.ready(ready=False)
        self._log.info("draining", connections=reception.open_connections)
        cut = await reception.drain(self._settings.timeouts.drain)
        self._log.info("drained", cut=cut)
