"""The listeners, and which code serves each: all of them, or none."""

from pathlib import Path

from proxy.core.arrival import LaneName
from proxy.core.contract import ENDPOINTS_FILE
from proxy.core.settings import Capture, ProxySettings
from proxy.edge.authority import replace_file
from proxy.edge.endpoints import (
    BoundEndpoint,
    EndpointDoor,
    base_urls,
    bind_endpoints,
    load_or_make_token,
    path_prefix,
)
from proxy.edge.explicit import ExplicitProxy
from proxy.edge.policy_state import PolicyState
from proxy.edge.reception import Reception, Serve
from proxy.edge.recorder import EdgeRecorder
from proxy.edge.routing import Lanes, Router
from proxy.edge.sockets import connections_that_fit, listen_on_loopback
from proxy.edge.trust import PodTrust
from proxy.lanes.fast.lane import FastLane
from proxy.lanes.fast.tls import ClientTls, UpstreamTls
from proxy.lanes.interface import Lane, LaneWorld
from proxy.lanes.late import LateLane
from proxy.lanes.relay import Relay
from proxy.lanes.unopened import Unopened
from proxy.telemetry.log import Log
from proxy.transaction.pod import PodState

# Why they cannot be opened, for people.
Trouble = str


class Doors:
    def __init__(
        self, settings: ProxySettings, trust: PodTrust, private: Path, recorder: EdgeRecorder, log: Log
    ) -> None:
        self._settings = settings
        self._trust = trust
        self._private = private
        self._recorder = recorder
        self._log = log
        # Once they are open.
        self._mitmproxy: LateLane | None = None

    def expect(self, state: PodState) -> None:
        """Load, beside the loop, what this state's policies will need: nobody is to wait for it."""
        if self._mitmproxy is not None and state.policies.for_pod(state.identity).names_grpc:
            self._mitmproxy.begin()

    def open(self, state: PolicyState, world: LaneWorld) -> Reception | Trouble:
        listeners, timeouts = self._settings.listeners, self._settings.timeouts
        mitmproxy = LateLane(LaneName.MITMPROXY, lambda: _mitmproxy(world, self._trust), world.recorder)
        fast = _fast(world, self._trust) if listeners.fast_lane else None
        lanes = Lanes(Relay(world), fast, mitmproxy, Unopened(world))
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
            doors |= {one.port: EndpointDoor(one, prefix, fast or mitmproxy).serve for one in bound}
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
        self._mitmproxy = mitmproxy
        if fast is None:
            mitmproxy.begin()
        else:
            self.expect(state())
        return reception

    def _publish(self, bound: list[BoundEndpoint]) -> str:
        """Tell the application its base URLs, and return the path prefix that they have."""
        prefix = path_prefix(self._settings.listeners.endpoint_token or load_or_make_token(self._private))
        text = "\n".join((*base_urls(bound, prefix), ""))
        replace_file(Path(self._settings.folders.trust) / ENDPOINTS_FILE, text.encode(), 0o644)
        return prefix


def _fast(world: LaneWorld, trust: PodTrust) -> FastLane:
    return FastLane(world, ClientTls(trust), UpstreamTls(trust.upstreams.pem))


def _mitmproxy(world: LaneWorld, trust: PodTrust) -> Lane:
    # Half a second of CPU: see proxy/lanes/late.py.
    from proxy.lanes.mitm import client_tls, upstream_tls  # noqa: PLC0415
    from proxy.lanes.mitm.lane import MitmproxyLane  # noqa: PLC0415

    certificates = trust.upstreams.certificates
    return MitmproxyLane(world, client_tls.ClientTls(trust), upstream_tls.UpstreamTls(certificates))
