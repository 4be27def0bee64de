"""How a request reached us, and whom it was meant for. All of it was checked before it stands here."""

from enum import Enum

from proxy.core.hosts import Hostname
from proxy.core.settings import Capture
from proxy.core.structs import Struct, hiding


class LaneName(Enum):
    """Which code moves the bytes."""

    RELAY = "relay"
    FAST = "fast"
    MITMPROXY = "mitmproxy"


class Arrival(Struct, frozen=True):
    """One connection of the application.

    `name` is what the upstream's certificate will be verified for: the TLS server name that the client sent,
    which under CONNECT is also the name it asked for; behind an endpoint, the endpoint's service.
    """

    name: Hostname
    port: int
    capture: Capture
    lane: LaneName
    # Where the bytes go, for the audit record: `address:port`.
    upstream: str = ""
    # The host that CONNECT named, where it was another one.
    asked: str = ""
    # An endpoint's first path segment, which only this pod knows.
    path_prefix: str = ""

    __repr__ = hiding("path_prefix")

    @property
    def shown_name(self) -> str:
        """The name as an authority: without the port that https implies."""
        return self.name if self.port == 443 else f"{self.name}:{self.port}"
