"""The closed list of reason codes. One code is the same string in the response header, the log, the
metric, the audit record and `docs/reasons.md`, which is generated from this table. A code is never
renamed and never reused."""

from enum import Enum
from typing import Final

from proxy.core.structs import Struct


class Actor(Enum):
    """Who can make the reason go away."""

    NOBODY = "nobody: this is how it should be"
    ML_ENGINEER = "ML engineer"
    PLATFORM = "platform team"


class ReasonPage(Struct, frozen=True):
    """What the documentation says of one code."""

    meaning: str
    actor: Actor
    change: str
    # Of the answer that a refused request gets. 403 is what no SDK repeats; 401 and 407 make some of them ask
    # for another credential, 429 and 503 make nearly all of them try again.
    status: int = 403


class Reason(Enum):
    """Why a verdict is what it is."""

    # Attach
    GRANTED = "granted"

    # PassThrough
    UNGOVERNED_HOST = "ungoverned_host"
    BLOB_HOST = "blob_host"
    PRESIGNED_ELSEWHERE = "presigned_elsewhere"
    WOULD_ATTACH = "would_attach"
    WOULD_REFUSE = "would_refuse"

    # Refuse: the request can be read in two ways, or in none
    MALFORMED_PATH = "malformed_path"
    AMBIGUOUS_PATH = "ambiguous_path"
    MALFORMED_QUERY = "malformed_query"
    AMBIGUOUS_QUERY = "ambiguous_query"
    METHOD_FORBIDDEN = "method_forbidden"
    OVERRIDE_HEADER = "override_header"
    QUERY_AUTH_PRESENT = "query_auth_present"

    # Refuse: no grant covers it; the code names the first thing that the nearest grant lacks
    PORT_NOT_GRANTED = "port_not_granted"
    METHOD_NOT_GRANTED = "method_not_granted"
    PATH_NOT_GRANTED = "path_not_granted"
    PIN_UNREADABLE = "pin_unreadable"
    PIN_NOT_GRANTED = "pin_not_granted"
    UNKNOWN_ACTION = "unknown_action"
    ACTION_NOT_GRANTED = "action_not_granted"
    QUERY_NOT_GRANTED = "query_not_granted"
    MINTING_API = "minting_api"
    GPU_REQUIRED = "gpu_required"
    GPU_FORBIDDEN = "gpu_forbidden"
    IMAGE_NOT_ALLOWED = "image_not_allowed"
    UNKNOWN_CREDENTIAL = "unknown_credential"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    OUTSIDE_WINDOW = "outside_window"

    # Refuse: a grant covers it, and still
    AMBIGUOUS_GRANT = "ambiguous_grant"
    FOREIGN_CREDENTIAL = "foreign_credential"
    FOREIGN_PRESIGNED = "foreign_presigned"
    SOURCE_NOT_GRANTED = "source_not_granted"

    # Refuse: what a lane finds before and after the decision
    MALFORMED_REQUEST = "malformed_request"
    HEADERS_TOO_LARGE = "headers_too_large"
    MALFORMED_PRESIGNED = "malformed_presigned"
    PRESIGNED_EXPIRED = "presigned_expired"
    UNSUPPORTED_PAYLOAD = "unsupported_payload"
    MALFORMED_BODY = "malformed_body"
    BODY_TOO_LARGE = "body_too_large"
    OVERLOADED = "overloaded"
    NAME_MISMATCH = "name_mismatch"
    CLEARTEXT = "cleartext"
    IDENTITY_UNVERIFIED = "identity_unverified"
    ENDPOINT_TOKEN = "endpoint_token"  # noqa: S105 - a code
    CREDENTIAL_UNAVAILABLE = "credential_unavailable"
    CREDENTIAL_UNUSABLE = "credential_unusable"
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    UPSTREAM_UNVERIFIED = "upstream_unverified"
    UPSTREAM_FAILED = "upstream_failed"
    UPSTREAM_STALLED = "upstream_stalled"
    REQUEST_TIMED_OUT = "request_timed_out"
    FENCED_ADDRESS = "fenced_address"
    INTERNAL_ERROR = "internal_error"


# With these a request goes on; with any other it is answered by us, with the page's status.
NOT_REFUSED: Final = frozenset({
    Reason.GRANTED, Reason.UNGOVERNED_HOST, Reason.BLOB_HOST, Reason.PRESIGNED_ELSEWHERE, Reason.WOULD_ATTACH,
    Reason.WOULD_REFUSE,
})  # fmt: skip
