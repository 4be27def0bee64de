"""Requests for tests of signers, any that a client can send."""

from datetime import UTC, datetime, timedelta
from string import ascii_letters, digits
from urllib.parse import quote

from hypothesis import strategies as st

from proxy.aws.sigv4 import UNSIGNED_HEADERS, SigningKeys
from proxy.core.secret import Secret

METHODS = st.sampled_from(("GET", "HEAD", "PUT", "POST", "DELETE"))
REGIONS = st.sampled_from(("us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1", "default"))
SERVICES = st.sampled_from(("sts", "bedrock", "sagemaker", "ecr"))
MOMENTS = st.integers(0, 10**9).map(lambda s: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=s))
BODIES = st.binary(max_size=64)

# --- paths and queries -------------------------------------------------------------------------------

# Raw, as an object key or a parameter may be: slashes in any number, dots, what has to be escaped, any text.
_ODD = st.sampled_from(
    ("", ".", "..", "~", " ", "+", "%", "%2F", "//", "a", "ü", "日", "\N{GRINNING FACE}", "&=", "\t")
)
TEXTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=4) | _ODD, max_size=5).map("".join)
BYTES = TEXTS.map(str.encode) | st.binary(max_size=12)
# Encoded as SDKs do, once.
S3_PATHS = BYTES.map(lambda key: "/" + quote(key, safe="/~"))
# As they may stand on the wire, for the services that encode them once more.
GENERAL_PATHS = st.text(ascii_letters + digits + "/.~-_%:+=,@&'()*!$;", max_size=40).map(lambda t: "/" + t)


def _encoded(raw: bytes) -> str:
    return quote(raw, safe="~")


_NAMES = st.sampled_from((b"prefix", b"uploads", b"list-type", b"a", b"A", b"a-b", b"a.b", b"a~")) | BYTES
PAIRS = st.lists(st.tuples(_NAMES.filter(bool), st.none() | BYTES), max_size=6)


@st.composite
def queries(draw: st.DrawFn) -> str:
    pairs = draw(PAIRS)
    return "&".join(
        _encoded(name) if value is None else f"{_encoded(name)}={_encoded(value)}" for name, value in pairs
    )


@st.composite
def escaped(draw: st.DrawFn, text: str) -> str:
    """The same path or query with some characters escaped that need not be, and escapes in lower case."""
    parts: list[str] = []
    at = 0
    while at < len(text):
        width = 3 if text[at] == "%" else 1
        part = text[at : at + width]
        at += width
        if draw(st.booleans()) and part not in {"/", "&", "="}:
            part = f"%{ord(part):02x}" if width == 1 else part.lower()
        parts.append(part)
    return "".join(parts)


# --- headers -----------------------------------------------------------------------------------------

_COMMON = ("content-type", "content-md5", "content-encoding", "range", "accept", "x-amz-acl", "x-amz-meta-a")
HEADER_NAMES = st.sampled_from(
    (*_COMMON, *sorted(UNSIGNED_HEADERS - {"authorization"}), "x-amz-meta-%", "X-Amz-Meta-A")
) | st.from_regex(r"[Xx]-[A-Za-z0-9.!#$%&'*+^_`|~-]{1,8}", fullmatch=True)
_ASCII = st.text(st.characters(max_codepoint=0x7F), max_size=20)
HEADER_VALUES = _ASCII | st.sampled_from((" ", "  a   b ", "a\tb", 'a "b   c"', "a, b", ": ", "%s", "\n"))
# Any bytes but white space and controls, as Latin-1 shows them: also UTF-8 with 0x85 and 0xA0 in it.
WIRE_VALUES = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0xFF, blacklist_characters="\x7f"), max_size=12
)
HEADERS = st.lists(st.tuples(HEADER_NAMES, HEADER_VALUES), max_size=6).map(tuple)

# --- keys --------------------------------------------------------------------------------------------

_KEY = st.text(ascii_letters + digits + "/+=", min_size=1, max_size=40)


@st.composite
def signing_keys(draw: st.DrawFn) -> SigningKeys:
    token = draw(st.none() | _KEY)
    secret = Secret(draw(_KEY).encode())
    return SigningKeys("example-id", secret, Secret(token.encode()) if token else None)
