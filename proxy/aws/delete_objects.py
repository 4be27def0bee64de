"""The body of S3's DeleteObjects, read as strictly as it can be: what it names is what is judged.

    <Delete><Object><Key>…</Key><VersionId>…</VersionId></Object>…<Quiet>true</Quiet></Delete>

What two servers could read differently is refused: other encodings than UTF-8, document types and entities,
processing instructions, attributes, unknown or repeated elements, text where none belongs. A key is taken as
XML gives it, with all its spaces; XML itself makes a line feed of a carriage return that is not escaped.
"""

from collections.abc import Callable
from typing import Final
from xml.parsers import expat

from proxy.core.paths import has_dot_segments
from proxy.core.request import Removal

# DeleteObjects' own limit (API reference).
MAX_REMOVALS: Final = 1000
# A thousand keys of 1,024 bytes with versions and markup come to 1.3 MiB; the rest is for what is escaped.
MAX_BODY: Final = 4 * 1024 * 1024
# What S3 keys end at, in UTF-8 (S3 User Guide, "Naming Amazon S3 objects").
MAX_KEY_BYTES: Final = 1024

# Some clients leave it out, and some stores do not look at it.
_NAMESPACES: Final = {"", "http://s3.amazonaws.com/doc/2006-03-01/"}
_SEPARATOR: Final = " "
_OBJECT: Final = ("Delete", "Object")
# Which elements stand in which; what is not listed holds text alone.
_WITHIN: Final = {
    (): {"Delete"},
    ("Delete",): {"Object", "Quiet"},
    _OBJECT: {"Key", "VersionId", "ETag", "LastModifiedTime", "Size"},
}
_WHITESPACE: Final = " \t\r\n"


class _Fault(Exception):  # noqa: N818 - it never leaves this module
    """Why the body is refused."""


def read_delete_objects(body: bytes) -> tuple[Removal, ...] | str:
    """What the body names for deletion, or why it cannot be told."""
    if len(body) > MAX_BODY:
        return f"it is larger than {MAX_BODY:,} bytes"
    # A byte order mark would win over what we tell the parser.
    if body.startswith((b"\xfe\xff", b"\xff\xfe")) or b"\0" in body:
        return "it is not in UTF-8"
    reader = _Reader()
    parser = expat.ParserCreate("utf-8", _SEPARATOR)
    parser.XmlDeclHandler = reader.declared
    parser.StartElementHandler = reader.started
    parser.EndElementHandler = reader.ended
    parser.CharacterDataHandler = reader.text.append
    parser.CommentHandler = reader.commented
    parser.StartDoctypeDeclHandler = _refusing("it declares a document type")
    parser.ProcessingInstructionHandler = _refusing("it holds a processing instruction")
    try:
        parser.Parse(body, True)  # noqa: FBT003 - expat's own form
    except _Fault as fault:
        return str(fault)
    except expat.ExpatError as error:
        return f"it is no XML: {expat.ErrorString(error.code)} in line {error.lineno}"
    return tuple(reader.removals) or "it names no key"


class _Reader:
    """Takes expat's events, in the order of the body."""

    def __init__(self) -> None:
        self.removals: list[Removal] = []
        self.text: list[str] = []
        self._namespace: str | None = None
        self._open: tuple[str, ...] = ()
        # What the open object holds so far, and what stands once in the whole body.
        self._seen: dict[str, str] = {}
        self._has_quiet = False

    def declared(self, version: str, encoding: str | None, _standalone: int) -> None:
        # To XML 1.1 other characters end a line, and more of them can be written.
        if version != "1.0" or (encoding is not None and encoding.lower() != "utf-8"):
            raise _Fault("it declares something else than XML 1.0 in UTF-8")

    def started(self, tag: str, attributes: dict[str, str]) -> None:
        namespace, _, name = tag.rpartition(_SEPARATOR)
        if namespace not in _NAMESPACES or self._namespace not in {None, namespace}:
            raise _Fault("an element is of another namespace than S3's")
        self._namespace = namespace
        if attributes:
            raise _Fault("an element has an attribute")
        if name not in _WITHIN.get(self._open, ()):
            raise _Fault(f"an element stands where none of its name belongs, in {_shown(self._open)}")
        if name in self._seen:
            raise _Fault(f"an object has two of {name}")
        if name == "Quiet":
            if self._has_quiet:
                raise _Fault("it has two of Quiet")
            self._has_quiet = True
        self._no_text()
        self._open = (*self._open, name)

    def ended(self, _tag: str) -> None:
        *outer, name = self._open
        if self._open in _WITHIN:
            self._no_text()
        if name == "Object":
            self._remove()
        elif tuple(outer) == _OBJECT:
            self._seen[name] = "".join(self.text)
        self.text.clear()
        self._open = tuple(outer)

    def commented(self, _text: str) -> None:
        """Some parsers take a text to end at a comment."""
        if self._open not in _WITHIN:
            raise _Fault(f"a comment stands in {_shown(self._open)}")

    def _no_text(self) -> None:
        """Between elements only what a person would add to make it readable."""
        if "".join(self.text).strip(_WHITESPACE):
            raise _Fault(f"text stands where none belongs, in {_shown(self._open)}")
        self.text.clear()

    def _remove(self) -> None:
        key, version = self._seen.get("Key"), self._seen.get("VersionId")
        if not key:
            raise _Fault("an object has no key")
        if len(key.encode()) > MAX_KEY_BYTES:
            raise _Fault(f"a key is longer than {MAX_KEY_BYTES:,} bytes")
        if has_dot_segments(key):
            # As in paths and copy sources: to Amazon they are part of the key, and some stores follow them.
            raise _Fault("a key has a dot segment")
        if version is not None and not version.strip(_WHITESPACE):
            # Is that the newest one, or the one that has no name?
            raise _Fault("an object has an empty VersionId")
        if len(self.removals) == MAX_REMOVALS:
            raise _Fault(f"it names more than {MAX_REMOVALS:,} keys")
        self.removals.append(Removal(key, version))
        self._seen = {}


def _shown(elements: tuple[str, ...]) -> str:
    return "/".join(elements) or "the body itself"


def _refusing(why: str) -> Callable[..., None]:
    def refuse(*_: object) -> None:
        raise _Fault(why)

    return refuse
