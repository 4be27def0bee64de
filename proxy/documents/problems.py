"""What is wrong with a document, where, and how to mend it."""

from collections.abc import Iterable
from enum import Enum
from heapq import nlargest
from typing import Final, NamedTuple


class ProblemCode(Enum):
    """One code per kind of mistake; stable, for editors and CI."""

    TOO_LARGE = "too_large"
    NOT_UTF8 = "not_utf8"
    YAML_SYNTAX = "yaml_syntax"
    TOO_MANY_NODES = "too_many_nodes"
    TOO_DEEP = "too_deep"
    MERGE_KEY = "merge_key"
    YAML_TAG = "yaml_tag"
    DUPLICATE_KEY = "duplicate_key"
    UNKNOWN_KEY = "unknown_key"
    MISSING_KEY = "missing_key"
    WRONG_TYPE = "wrong_type"
    EMPTY_LIST = "empty_list"
    EMPTY_SELECTOR = "empty_selector"
    TOO_LONG = "too_long"
    REPEATED_ITEM = "repeated_item"
    EXACTLY_ONE = "exactly_one"
    BAD_VALUE = "bad_value"
    UNKNOWN_KIND = "unknown_kind"
    HOST_IS_ADDRESS = "host_is_address"
    HOST_HAS_PORT = "host_has_port"
    HOST_IS_URL = "host_is_url"
    HOST_WILDCARD = "host_wildcard"
    HOST_PUBLIC_SUFFIX = "host_public_suffix"
    HOST_MALFORMED = "host_malformed"
    HOST_BLOB = "host_blob"
    HOST_TAKEN = "host_taken"
    HOST_NEEDS_SERVICE = "host_needs_service"
    TOO_MANY_TO_COMPARE = "too_many_to_compare"
    TOO_MANY_PROBLEMS = "too_many_problems"
    UNKNOWN_TIME_ZONE = "unknown_time_zone"
    UNKNOWN_SERVICE = "unknown_service"
    UNKNOWN_PIN = "unknown_pin"
    UNKNOWN_ACTION = "unknown_action"
    UNKNOWN_MINTING_API = "unknown_minting_api"
    UNKNOWN_CREDENTIAL = "unknown_credential"
    ATTACH_MISMATCH = "attach_mismatch"
    NEVER_MATCHES = "never_matches"
    SESSION_POLICY_UNDERIVABLE = "session_policy_underivable"
    SESSION_POLICY_TOO_LARGE = "session_policy_too_large"
    CONTRADICTING_ENDPOINTS = "contradicting_endpoints"
    OVERLAPPING_GRANTS = "overlapping_grants"
    NOT_ALLOWED_HERE = "not_allowed_here"
    DUPLICATE_DOCUMENT = "duplicate_document"
    UNREADABLE_FILE = "unreadable_file"
    NO_DOCUMENTS = "no_documents"


class Problem(NamedTuple):
    file: str
    line: int
    path: str
    message: str
    fix: str
    code: ProblemCode = ProblemCode.BAD_VALUE

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        where = f"{self.path}: " if self.path else ""
        return f"{place}: {where}{self.message}"


class Fault(Exception):  # noqa: N818 - a fault in a value, not an error of the program
    """Raised by the parser of one value; the reader adds the place."""

    def __init__(
        self, message: str, fix: str, code: ProblemCode = ProblemCode.BAD_VALUE, at: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.code = code
        self.at = at  # a field below the value, when the fault is there


# A comparison costs some 20 µs; a document with a thousand mistakes in front of a thousand names must not
# cost half a minute.
MAX_COMPARED: Final = 48
MAX_LISTED: Final = 24


def _alike(word: str, names: Iterable[str]) -> list[str]:
    """The names that begin most like the word: the only ones worth a comparison when there are many."""
    folded = word.lower()

    def shared(name: str) -> int:
        differs = (i for i, (a, b) in enumerate(zip(name.lower(), folded, strict=False)) if a != b)
        return next(differs, min(len(name), len(folded)))

    return sorted(nlargest(MAX_COMPARED, names, key=shared))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A fix for a mistyped word: the nearest known one, else all of them."""
    word, names = word[:64], sorted(known)
    if len(names) > MAX_COMPARED:
        names = _alike(word, names)
    lowered = {name.lower(): name for name in names}
    from difflib import get_close_matches  # noqa: PLC0415 - for mistakes alone

    close = get_close_matches(word.lower(), lowered, n=1, cutoff=0.5)
    if close:
        return f"did you mean `{lowered[close[0]]}`?"
    return "use one of: " + ", ".join(names[:MAX_LISTED]) if names else "remove it"
