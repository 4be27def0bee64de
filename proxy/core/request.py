"""What a decision may know of one request. Everything in it was checked before: see the parsers it holds."""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from proxy.core.hosts import Hostname
from proxy.core.paths import RequestPath
from proxy.core.queries import EMPTY_QUERY, Query
from proxy.core.structs import Struct, field

# The methods that a credential may travel with: registered ones (RFC 9110 §9, RFC 5789, WebDAV) less
# CONNECT, which opens a tunnel, and TRACE, which shows the credential to the application. Anything else is
# refused; servers differ in what they make of `post`.
METHODS: Final = frozenset({
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "SEARCH", "REPORT",
    "PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "LINK", "UNLINK", "PURGE", "LIST",
})  # fmt: skip

# Headers that some servers take for the method or the path, whatever the request line says.
OVERRIDE_HEADERS: Final = frozenset({
    "x-http-method", "x-http-method-override", "x-method-override", "x-original-url", "x-rewrite-url",
    # To a CGI-like server an underscore is a hyphen.
    "x_http_method", "x_http_method_override", "x_method_override", "x_original_url", "x_rewrite_url",
})  # fmt: skip

NO_HEADERS: Final[Mapping[str, str]] = {}


class ClientCredential(Enum):
    """What the application put where the service reads its credential."""

    ABSENT = "absent"
    PLACEHOLDER = "placeholder"
    FOREIGN = "foreign"


class Removal(Struct, frozen=True):
    """One key that the body of a request names for deletion, and the version where it names one."""

    key: str
    version: str | None = None


class RequestFacts(Struct, frozen=True):
    """`host` is the verified name. `headers` have lower-case names and hold at least those that
    `PolicyIndex.wanted_headers` lists, and those that begin as `HostRules.wanted_beginnings` say; one that is
    sent several times stands there once, its values joined by commas (RFC 9110 §5.3)."""

    host: Hostname
    method: str
    path: RequestPath
    query: Query = EMPTY_QUERY
    port: int = 443
    headers: Mapping[str, str] = field(default_factory=lambda: NO_HEADERS)
    client_credential: ClientCredential = ClientCredential.ABSENT
    # The URL was signed by somebody else; what signs it is not in `query`.
    signed_elsewhere: bool = False
    # What the body names. None: nobody has read it yet.
    removals: tuple[Removal, ...] | None = None

    @classmethod
    def of(
        cls,
        host: Hostname,
        method: str,
        target: str,
        *,
        port: int = 443,
        headers: Mapping[str, str] = NO_HEADERS,
        client_credential: ClientCredential = ClientCredential.ABSENT,
    ) -> "RequestFacts":
        """From an origin-form request target (RFC 9112 §3.2.1): a path and, after `?`, a query."""
        raw_path, _, raw_query = target.partition("?")
        query = Query.parse(raw_query) if raw_query else EMPTY_QUERY
        path = RequestPath.parse(raw_path)
        return cls(host, method, path, query, port, headers, client_credential)
