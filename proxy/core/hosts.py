"""Host names and the three kinds of pattern for them.

A name that a request was sent to (`Hostname`) and a pattern that a document holds are different types, so
that two patterns, or two unchecked strings, can never be compared by accident. There is one normal form:
lower case, A-labels (`xn--…`), no dot at the end.
"""

import re
from typing import Final, NewType

from proxy.core.globs import ANY_SEGMENTS, common_segments
from proxy.core.structs import Struct

Hostname = NewType("Hostname", str)

MAX_HOSTNAME_LENGTH: Final = 253  # RFC 1035 §2.3.4, less the length bytes

# Letters, digits, hyphens inside (RFC 1123 §2.1). The underscore is no host name character, but old S3
# buckets and some in-cluster names carry it, and to refuse it would leave them ungoverned.
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOSTNAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*").fullmatch
# The last label of a name has a letter in it; what has none is an IPv4 address in one of its spellings
# (RFC 3696 §2; `0x7f.1` and `127.1` are addresses to inet_aton).
_ADDRESS = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)").fullmatch


def parse_hostname(text: str) -> Hostname | None:
    """The name in normal form, or None where it is none (an address, a wildcard, odd bytes)."""
    name = text.lower()
    if len(name) > MAX_HOSTNAME_LENGTH or not text.isascii():
        return None
    if not _HOSTNAME(name) or _ADDRESS(name):
        return None
    return Hostname(name)


class HostPattern(Struct, frozen=True):
    """An exact name, or `*.` and a name: exactly one label more."""

    text: str

    @property
    def is_wildcard(self) -> bool:
        return self.text.startswith("*.")

    @property
    def suffix(self) -> str:
        """What follows the star; the whole name where there is none."""
        return self.text.removeprefix("*.")

    @property
    def label_globs(self) -> tuple[str, ...]:
        return tuple(self.text.split("."))

    def matches(self, host: Hostname) -> bool:
        if not self.is_wildcard:
            return host == self.text
        label, dot, parent = host.partition(".")
        return bool(label and dot) and parent == self.suffix

    def common(self, other: "HostPattern") -> Hostname | None:
        """A name that both patterns match, or None where there is none."""
        for one, two in ((self, other), (other, self)):
            if not one.is_wildcard:
                name = Hostname(one.text)
                return name if two.matches(name) else None
        return Hostname(f"any.{self.suffix}") if self.suffix == other.suffix else None


# `{name}` or `{name+}`, in the templates of hosts and of paths.
CAPTURE: Final = re.compile(r"\{([a-z_]+)(\+?)\}")

# Captures whose name says what they look like, wherever they stand: an expression, and a sample. Without
# it `s3-fips.{region}.amazonaws.com` would take the bucket host `s3-fips.s3.amazonaws.com` for a region's.
SHAPED_CAPTURES: Final = {
    "aws_region": (r"[a-z]{2,8}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}", "us-east-1"),
    "aws_account": (r"[0-9]{12}", "111122223333"),
    # Of an availability zone, `usw2-az1`, or of a local one, `usw2-lax1-az1`.
    "aws_zone": (r"[a-z]{2,8}[0-9]{1,2}(?:-[a-z]{2,8}[0-9]{1,2})?-az[0-9]{1,2}", "use1-az4"),
}


class HostTemplate(Struct, frozen=True):
    """A name with captures: `{bucket+}.s3.{region}.amazonaws.com`. `{x}` is one label, `{x+}` one or more.

    A capture that stands twice is the same text both times.
    """

    text: str

    @property
    def captures(self) -> frozenset[str]:
        return frozenset(capture[1] for capture in CAPTURE.finditer(self.text))

    @property
    def tail(self) -> str:
        """The whole labels after the last capture: what the owner of the name must own.

        `{x}-example.com` leaves `com`: whoever registers `x-example.com` would be covered.
        """
        *captures, rest = CAPTURE.split(self.text)
        return rest.partition(".")[2] if captures else rest

    def compiled(self) -> re.Pattern[str]:
        literal, *rest = CAPTURE.split(self.text)
        expression = re.escape(literal)
        seen: set[str] = set()
        for name, plus, text in zip(rest[0::3], rest[1::3], rest[2::3], strict=True):
            shape, _ = SHAPED_CAPTURES.get(name, (_LABEL, ""))
            labels = rf"{shape}(?:\.{shape})*" if plus else shape
            expression += f"(?P={name})" if name in seen else f"(?P<{name}>{labels})"
            expression += re.escape(text)
            seen.add(name)
        return re.compile(expression)

    def filled(self, values: dict[str, str]) -> Hostname:
        """The name with each capture replaced; a capture without a value becomes a sample of it."""

        def value(capture: re.Match[str]) -> str:
            _, sample = SHAPED_CAPTURES.get(capture[1], ("", capture[1]))
            return values.get(capture[1], sample)

        return Hostname(CAPTURE.sub(value, self.text))

    @property
    def label_globs(self) -> tuple[str, ...]:
        """Its labels as globs, to ask whether two patterns can meet; wider than the template itself."""
        text = CAPTURE.sub(lambda capture: "**" if capture[2] else "*", self.text)
        return tuple(ANY_SEGMENTS if ANY_SEGMENTS in label else label for label in text.split("."))


def hosts_meet(left: tuple[str, ...], right: tuple[str, ...]) -> bool:
    """Whether some name has labels that both match; in doubt, yes."""
    for a, b in zip(reversed(left), reversed(right), strict=False):
        if "*" in a or "*" in b:
            return common_segments(left, right) is not None
        if a != b:
            return False
    return len(left) == len(right)
