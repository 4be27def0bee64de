"""Who is measured: what starts it, and what it owes to a request."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Final

from bench.ground import Place
from proxy.core.arrival import LaneName
from tests.s3_signer import Keys

# A FIFO in the folder of who writes an audit trail; the records are counted at its other end.
AUDIT: Final = "audit"


class Owes(Enum):
    """What a request has when it arrives at the upstream. NOTHING: what the client sent, as it sent it."""

    BEARER = "bearer"
    SIGNATURE = "signature"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Drawn for this run. The placeholders are what the client has."""

    token: str = field(repr=False)
    keys: Keys
    placeholder: str
    placeholder_keys: Keys


@dataclass(frozen=True, slots=True)
class Program:
    """`in_image`: it runs in the root of the proxy's image, where its folder is `peers.podkey.INSIDE`."""

    argv: Sequence[str]
    environment: Mapping[str, str] = MappingProxyType({})
    readable: Sequence[Path] = ()
    in_image: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """`name` is its host's first label, `title` its column; `missing`: why it is left out; `trust`: the file
    in its folder that a client trusts; `has_variants`: it is asked in more ways than one; `lane`: the one
    of ours that it is, which owes a record of each request and says its name in it."""

    name: str
    title: str
    owes: Owes
    program: Callable[[Place, Credentials], Program]
    missing: str = ""
    trust: str = "ca.pem"
    has_variants: bool = False
    lane: LaneName | None = None
