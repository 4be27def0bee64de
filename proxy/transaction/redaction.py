"""Blots out the attached secret where an answer shows it: debug endpoints, error texts, dumps of requests.

By exact match with the forms in which servers write a value. That stops echoes and mistakes; it does not stop
an upstream that means to give the secret away, which may write it backwards. Not matched either: numbers for
characters that are not ASCII, base64 that is broken into lines, compressed and binary answers.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from string import ascii_letters, digits
from typing import Final, NamedTuple

from proxy.core.secret import Secret

# Shorter forms would blot out innocent text: `admin` and `test` are passwords too.
MIN_FORM_BYTES: Final = 8

# --- the forms of a secret ---------------------------------------------------------------------------

# What each way of writing a text puts in place of a character; it leaves the others as they are.
Spelling = Mapping[int, str]


def _percent(kept: str) -> Iterator[dict[int, str]]:
    for escape in ("%%%02X", "%%%02x"):
        yield {byte: escape % byte for byte in range(256) if chr(byte) not in ascii_letters + digits + kept}


def _numbers(characters: str, escape: str = "\\u%04x") -> dict[int, str]:
    return {ord(character): escape % ord(character) for character in characters}


_JSON: Final = str.maketrans({'"': '\\"', "\\": "\\\\"})  # what it must escape (RFC 8259 §7)
_XML: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_SPELLINGS: Final[tuple[Spelling, ...]] = (
    *_percent("-._~"),  # RFC 3986 §2.3
    *_percent("-._~/"),  # Python's default
    *_percent("-._~!'()*"),  # JavaScript
    *(form | {ord(" "): "+"} for form in _percent("-._*")),  # HTML forms
    _JSON,
    _JSON | {ord("/"): "\\/"},  # PHP
    _JSON | _numbers("<>&"),  # Go
    _JSON | _numbers("<>&='"),  # Gson
    _JSON | _numbers("\"<>&'+`", "\\u%04X"),  # .NET
    _XML,
    _XML | str.maketrans({'"': "&quot;", "'": "&#39;"}),
    _XML | str.maketrans({'"': "&quot;", "'": "&#x27;"}),
)
# What all of them leave as it is; most tokens have nothing else.
_PLAIN: Final = (ascii_letters + digits + "._-").encode()
# No credential is placed that holds one of these. So no form has a line break, and whatever ends in one is
# never held back: a server-sent event goes on when it comes.
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]").search


class Forms(frozenset[bytes]):
    """Those of one credential, as all redactors of its responses use them. They show it: no repr."""

    __slots__ = ("_ready", "_shortest")
    _ready: "_Ready"
    _shortest: int

    @property
    def shortest(self) -> int:
        """How long the shortest is."""
        try:
            return self._shortest
        except AttributeError:
            self._shortest = min(map(len, self), default=0)
            return self._shortest

    @property
    def ready(self) -> "_Ready":
        try:
            return self._ready
        except AttributeError:
            self._ready = _Ready.of(self)
            return self._ready

    def __repr__(self) -> str:
        return f"<{len(self)} forms>"


def forms_of(secrets: Iterable[Secret]) -> Forms:
    """All that a response must not show. It holds the secret: it may not be printed either."""
    forms: set[bytes] = set()
    for secret in secrets:
        value = secret.reveal()
        for text in (value, *_within_base64(value)):
            forms |= _spelled(text)
        if len(value) >= MIN_FORM_BYTES:
            forms |= _in_hexadecimal(value)
    return Forms(form for form in forms if len(form) >= MIN_FORM_BYTES and not _CONTROL(form))


def _spelled(text: bytes) -> set[bytes]:
    special = set(text.translate(None, _PLAIN))
    if not special:
        return {text}
    characters = text.decode("latin-1")
    # Most spellings come to the same for the few characters that there are: each way is taken once.
    ways = {tuple(spelling.get(byte, chr(byte)) for byte in special) for spelling in _SPELLINGS}
    tables = (dict(zip(special, way, strict=True)) for way in ways)
    return {text, *(characters.translate(table).encode("latin-1") for table in tables)}


def _in_hexadecimal(value: bytes) -> set[bytes]:
    """As dumps have it: S3 shows a request whose signature it does not accept byte by byte, with spaces."""
    texts = (value.hex(), value.hex(" "))
    return {text.encode() for plain in texts for text in (plain, plain.upper())}


def _within_base64(value: bytes) -> Iterator[bytes]:
    """The characters that depend on nothing but the value, wherever it stands in a text that is encoded.

    A character holds six bits; at either end some of them may belong to the value's neighbours, and two of
    three positions shift it against the characters.
    """
    for before in range(3):
        encoded = b64encode(bytes(before) + value)
        whole = encoded[-(-before * 8 // 6) : (before + len(value)) * 8 // 6]
        yield whole
        yield whole.translate(bytes.maketrans(b"+/", b"-_"))


# --- streams -----------------------------------------------------------------------------------------

# Whichever no form holds: then what was blotted out never makes a new form with what stands beside it. The
# last is in none that `forms_of` gives.
_MASKS: Final = b"*#\x7f"
# How much is held back: the next of these above the longest form. API keys fall below the first or second.
_REACHES: Final = (128, 512, 4096, 32_768)
# Every control character as the same one: to find the last of them.
_AS_ONE: Final = bytes(0 if byte < 0x20 or byte == 0x7F else byte for byte in range(256))


class _Ready(NamedTuple):
    forms: tuple[bytes, ...]
    mask: bytes
    reach: int

    @classmethod
    def of(cls, forms: Iterable[bytes]) -> "_Ready":
        forms = tuple(forms)
        in_forms = frozenset(b"".join(forms))
        mask = bytes([next((mask for mask in _MASKS if mask not in in_forms), _MASKS[0])])
        longest = max(map(len, forms), default=0)
        return cls(forms, mask, next((reach for reach in _REACHES if reach >= longest), longest))


class Redactor:
    """One response body on its way. Every byte that belongs to a form is blotted out, however it is cut.

    What is put in its place has the same length, so that Content-Length and every framing within the body
    stay true. Held back is what follows the last line break, up to a number of bytes that tells only the size
    of the secret, and not well: a server-sent event, which ends in a line break, goes on when it comes.
    """

    def __init__(self, forms: frozenset[bytes]) -> None:
        self._forms, self._mask, self._reach = forms.ready if isinstance(forms, Forms) else _Ready.of(forms)
        # The end of what came: as it was, to find forms that go on, and as it will be shown.
        self._held = b""
        self._held_shown = b""
        self.hits = 0

    def __repr__(self) -> str:
        return f"<Redactor of {len(self._forms)} forms, {self.hits} hits>"

    def feed(self, data: bytes) -> bytes:
        """What can be passed on now."""
        if not self._forms:
            return data
        came = self._held + data
        shown = self._blotted(came, self._held_shown + data)
        end = len(came) - self._unfinished(came)
        self._held, self._held_shown = came[end:], shown[end:]
        return shown[:end]

    def finish(self) -> bytes:
        """The rest: nothing comes that could complete a form."""
        rest = self._held_shown
        self._held = self._held_shown = b""
        return rest

    def whole(self, data: bytes) -> bytes:
        """All there is: nothing has to be held back."""
        for form in self._forms:
            if form in data:
                return self.feed(data) + self.finish()
        return data

    def _blotted(self, came: bytes, shown: bytes) -> bytes:
        blotted: bytearray | None = None
        held = len(self._held)
        for form in self._forms:
            # What lies within the held bytes was found before.
            start = came.find(form, max(0, held - len(form) + 1)) if held else came.find(form)
            covered = 0
            while start >= 0:
                blotted = bytearray(shown) if blotted is None else blotted
                end = start + len(form)
                covered = max(start, covered)
                blotted[covered:end] = self._mask * (end - covered)
                covered = end
                self.hits += 1
                start = came.find(form, start + 1)
        return shown if blotted is None else bytes(blotted)

    def _unfinished(self, came: bytes) -> int:
        """How many bytes at the end could be the beginning of a form: of this secret, or any of its size.

        To hold back only what begins like a form would show, by the sizes of what is passed on, how far a
        text that the application chose agrees with the secret: it could be read out byte by byte.
        """
        tail = came[-self._reach :]
        return len(tail) - 1 - tail.translate(_AS_ONE).rfind(0)


def redact_value(value: str, forms: frozenset[bytes]) -> str:
    """A field's value as it may be shown. Values are read from the wire as Latin-1 (RFC 9110 §5.5)."""
    data = value.encode("latin-1", "backslashreplace")
    clean = redact_bytes(data, forms)
    return value if clean is data else clean.decode("latin-1")


def redact_bytes(data: bytes, forms: frozenset[bytes]) -> bytes:
    """A piece by itself, with nothing before it and nothing held back."""
    if not shows(data, forms):
        return data
    redactor = Redactor(forms)
    return redactor.feed(data) + redactor.finish()


def shows(data: bytes, forms: Iterable[bytes]) -> bool:
    for form in forms:  # noqa: SIM110 - every field of every response comes here
        if form in data:
            return True
    return False


# --- which answers are looked at -----------------------------------------------------------------------

_TEXTS: Final = frozenset({
    "application/ecmascript", "application/graphql", "application/http", "application/javascript",
    "application/json", "application/json-seq", "application/jsonl", "application/jsonlines",
    "application/ndjson", "application/toml", "application/x-javascript", "application/x-json",
    "application/x-ndjson", "application/x-www-form-urlencoded", "application/x-yaml", "application/xml",
    "application/yaml", "message/http",
})  # fmt: skip
_TEXT_SUFFIXES: Final = ("+json", "+xml", "+yaml", "+text")  # RFC 6839 and its kin


def is_text(content_type: str | None, content_encoding: str | None) -> bool:
    """Whether a response's body is looked through. Binary types are large, and echo nothing."""
    if content_encoding is None and content_type in _TEXTS:
        return True  # nearly always
    codings = (content_encoding or "identity").lower().split(",")
    if any(coding.strip() not in {"", "identity"} for coding in codings):
        return False
    types = (content_type or "").lower().split(",")  # of several, one that a client takes for text
    return any(_is_text_type(one.partition(";")[0].strip()) for one in types)


def _is_text_type(media_type: str) -> bool:
    kind, slash, _ = media_type.partition("/")
    if not slash:
        return True  # none, or none that can be read: clients look for themselves
    if media_type.startswith("application/grpc"):
        return False  # length-prefixed messages, whatever is in them
    if kind == "multipart":
        return media_type != "multipart/byteranges"  # pieces of an object; the others are several answers
    return kind == "text" or media_type in _TEXTS or media_type.endswith(_TEXT_SUFFIXES)
