"""What a pod's annotations ask for, read and sound."""

from enum import Enum
from ipaddress import IPv4Network, IPv6Network

from proxy.core.settings import Capture
from proxy.core.structs import Struct, field


class Wish(Enum):
    """The pod's annotation `podkey.io/inject`."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    # A sidecar whose policies only observe.
    OBSERVE = "observe"


class Quantities(Struct, frozen=True):
    """CPU in thousandths of a core, memory in bytes. None: not said."""

    cpu_request: int | None = None
    cpu_limit: int | None = None
    memory_request: int | None = None
    memory_limit: int | None = None


class Intent(Struct, frozen=True):
    """Everything that the user's annotations under `podkey.io/` say."""

    wish: Wish | None = None
    # Empty: what the namespace's Pod Security level allows.
    capture: frozenset[Capture] = frozenset()
    sidecar: Quantities = field(default_factory=Quantities)
    # Empty: the default ports.
    capture_ports: tuple[int, ...] = ()
    exclude_ports: tuple[int, ...] = ()
    exclude_cidrs: tuple[IPv4Network | IPv6Network, ...] = ()
    placeholders_beside_env_from: bool = False
