"""What is wrong with a document, where, and how to mend it."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum


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
    UNKNOWN_TIME_ZONE = "unknown_time_zone"
    UNKNOWN_SERVICE = "unknown_service"
    UNKNOWN_PIN = "unknown_pin"
    UNKNOWN_ACTION = "unknown_action"
    UNKNOWN_MINTING_API = "unknown_minting_api"
    UNKNOWN_CREDENTIAL = "unknown_credential"
    ATTACH_MISMATCH = "attach_mismatch"
    NEVER_MATCHES = "never_matches"
    OVERLAPPING_GRANTS = "overlapping_grants"
    DUPLICATE_DOCUMENT = "duplicate_document"
    UNREADABLE_FILE = "unreadable_file"
    NO_DOCUMENTS = "no_documents"


@dataclass(frozen=True, slots=True)
class Problem:
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


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A fix for a mistyped word: the nearest known one, else all of them."""
    names = sorted(known)
    lowered = {name.lower(): name for name in names}
    close = get_close_matches(word.lower(), lowered, n=1, cutoff=0.5)
    if close:
        return f"did you mean `{lowered[close[0]]}`?"
    return "use one of: " + ", ".join(names) if names else "remove it"
