"""Host patterns as people write them. The doorman of `idna` and of the public suffix list."""

import ipaddress
import re
from functools import cache, cached_property
from pkgutil import get_data
from typing import Final, final

from proxy.core.hosts import Hostname, HostPattern, parse_hostname
from proxy.documents.problems import Fault, ProblemCode

# The library that carries the list makes 75 ms and 5 MB of it, which every start would wait for. We take its
# file: as it stands, a rule is a line (https://github.com/publicsuffix/list/wiki/Format).
_PRIVATE_RULES: Final = b"===BEGIN PRIVATE DOMAINS==="


@cache
def _list() -> bytes:
    return get_data("publicsuffixlist", "public_suffix_list.dat") or b""


@final
class _Suffixes:
    """The rules of a list. International names come to us in their `xn--` form and stand in it in their own,
    so those rules are brought into that form: when the first such name is looked for, for it takes 15 ms."""

    def __init__(self, text: bytes) -> None:
        self._lines = frozenset(filter(None, text.split(b"\n")))

    @cached_property
    def _international(self) -> frozenset[bytes]:
        rules = (line for line in self._lines if not line.isascii() and not line.startswith(b"//"))
        return frozenset(_in_ascii(rule.decode()) for rule in rules)

    def _has(self, rule: str) -> bool:
        line = rule.encode()
        return line in self._lines or ("xn--" in rule and line in self._international)

    def suffix_of(self, name: str) -> str | None:
        """The longest public suffix of a name in normal form; None where no rule is about it."""
        labels = name.split(".")
        for at in range(len(labels)):
            rest = ".".join(labels[at:])
            # An exception (`!www.ck`) is not below the wildcard that it stands beside (`*.ck`).
            if self._has(f"!{rest}"):
                return ".".join(labels[at + 1 :])
            if self._has(f"*.{rest}"):
                # What a wildcard stands below is public, too: the list's own tests say so.
                return ".".join(labels[max(at - 1, 0) :])
            if self._has(rest):
                return rest
        return None


def _in_ascii(rule: str) -> bytes:
    name = rule.removeprefix("!")
    return rule[: -len(name)].encode() + name.encode("idna")


@cache
def _listed_suffixes() -> _Suffixes:
    return _Suffixes(_list())


@cache
def _registries() -> _Suffixes:
    # Less what companies list for their own customers, such as the hosts of object stores.
    return _Suffixes(_list().partition(_PRIVATE_RULES)[0])


def forget_suffixes() -> None:
    """Until they are asked for again: they are 1.6 MB, and only a policy that is read asks."""
    for kept in (_list, _listed_suffixes, _registries):
        kept.cache_clear()


def is_public_suffix(name: str) -> bool:
    """Whether strangers can register names directly below this one (`com`, `co.uk`, `github.io`)."""
    return _listed_suffixes().suffix_of(name) == name


def suffix_below(name: str) -> str | None:
    """A public suffix that lies below this name: `blob.core.windows.net` below `windows.net`."""
    # The question the other way round. Only entries of policy folders ask it.
    text = _list().decode()
    below = rf"^(?:\*\.)?((?:[^\s/.]+\.)+{re.escape(name)})\s*$"
    found = re.search(below, text, re.MULTILINE) if name in text else None
    return found[1] if found else None


def registrable_domain(name: str) -> str | None:
    """The part of a name that somebody registered: `example.co.uk` of `api.example.co.uk`."""
    labels = name.split(".")
    suffix = _listed_suffixes().suffix_of(name)
    if suffix == name:
        return None
    # A top level that the list does not know counts as public.
    public = suffix.count(".") + 1 if suffix is not None else 1
    return ".".join(labels[-public - 1 :])


def is_unlisted_single_label(name: str) -> bool:
    """A top level that the list does not know, such as `internal`: the list says to take it as public."""
    return "." not in name


def display_name(host: str) -> str:
    """The name for people: IDNA names in both forms."""
    if "xn--" not in host:
        return host
    star, name = ("*.", host[2:]) if host.startswith("*.") else ("", host)
    import idna  # noqa: PLC0415 - its tables are for such names alone

    try:
        shown = idna.decode(name)
    except idna.IDNAError:
        return host
    return f"{star}{shown} ({host})"


def _reject_what_is_no_name(text: str) -> None:
    if "://" in text:
        rest = text.split("://", 1)[1]
        name = rest.split("/")[0]
        raise Fault(
            f"`{text}` is a URL, not a host",
            f"write only the host: `{name}`",
            ProblemCode.HOST_IS_URL,
        )
    if "/" in text:
        name = text.split("/", maxsplit=1)[0]
        fix = f"write the host `{name}` here and the path in `paths`"
        raise Fault(f"`{text}` holds a path", fix, ProblemCode.HOST_IS_URL)
    bare = text.strip("[]")
    try:
        ipaddress.ip_address(bare.split("%")[0])
    except ValueError:
        pass
    else:
        fix = "name the host: a credential is attached only to a name that the upstream's certificate proves"
        raise Fault(f"`{text}` is an IP address", fix, ProblemCode.HOST_IS_ADDRESS)
    if ":" in text:
        name, _, port = text.rpartition(":")
        fix = f"write `{name}` here and the port in `ports: [{port or '443'}]`"
        raise Fault(f"`{text}` contains a port", fix, ProblemCode.HOST_HAS_PORT)


def _to_ascii(name: str, text: str) -> str:
    if name.isascii():
        return name.lower()
    import idna  # noqa: PLC0415 - its tables are for such names alone

    try:
        return idna.encode(name, uts46=True).decode()
    except idna.IDNAError as error:
        fix = "check the spelling, or write the name in its `xn--` form"
        raise Fault(
            f"`{text}` is not a valid international name: {error}", fix, ProblemCode.HOST_MALFORMED
        ) from None


def parse_host_pattern(text: str) -> HostPattern:
    """An exact host or one leading `*.`, in normal form; raises `Fault` with the fix."""
    wildcard, host = _read(text)
    if is_public_suffix(host) or (wildcard and is_unlisted_single_label(host)):
        subject = f"every name below `{host}`" if wildcard else f"`{host}`"
        message = f"{subject} is open to strangers: `{host}` is a public suffix"
        fix = f"name the hosts you mean, such as `api.your-company.{host}`, or use `service:`"
        raise Fault(message, fix, ProblemCode.HOST_PUBLIC_SUFFIX)
    return HostPattern(f"*.{host}" if wildcard else host)


def parse_store_host(text: str) -> Hostname:
    """The host of a store. Strangers may register names directly below it: they are its buckets."""
    wildcard, host = _read(text)
    if wildcard:
        fix = f"write `{host}`, and `addressing: virtual` where buckets stand in the host"
        raise Fault(f"`{text}` is not one host", fix, ProblemCode.HOST_WILDCARD)
    if is_public_suffix(host) and _registries().suffix_of(host) == host:
        fix = f"write the store's whole name, such as `storage.your-company.{host}`"
        raise Fault(f"`{text}` is a public suffix, not a store", fix, ProblemCode.HOST_PUBLIC_SUFFIX)
    return host


def _read(text: str) -> tuple[bool, Hostname]:
    """Whether it begins with `*.`, and the name."""
    _reject_what_is_no_name(text)
    if text in {"*", "*.", "**"}:
        fix = "name the hosts; a credential must not go to every host"
        raise Fault(f"a bare `{text}` would match every host", fix, ProblemCode.HOST_WILDCARD)
    wildcard = text.startswith("*.")
    name = _to_ascii(text.removeprefix("*."), text)
    if "*" in name:
        fix = "use one `*` as the whole first label (`*.example.com`), or list the hosts"
        message = f"`{text}`: a wildcard can only be the whole first label"
        raise Fault(message, fix, ProblemCode.HOST_WILDCARD)
    if name.endswith("."):
        raise Fault(
            f"`{text}` ends in a dot",
            f"write `{text.rstrip('.')}`: names are always complete here",
            ProblemCode.HOST_MALFORMED,
        )
    host = parse_hostname(name)
    if host is None:
        if parse_hostname(name + ".a") is not None:  # only the last label is odd: an address in disguise
            fix = "name the host; addresses, in any spelling, cannot be granted"
            raise Fault(f"`{text}` is an IP address", fix, ProblemCode.HOST_IS_ADDRESS)
        fix = "use letters, digits and hyphens in labels of at most 63 characters, joined by single dots"
        raise Fault(f"`{text}` is not a host name", fix, ProblemCode.HOST_MALFORMED)
    return wildcard, host
