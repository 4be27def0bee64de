"""Settings from the environment: the single values, and a reader that reports all problems at once."""

from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, NamedTuple

from proxy.documents.problems import Fault

MAX_PORT: Final = 65_535
# 2**32 - 1 is (uid_t)-1, which the kernel takes as "no change".
MAX_UID: Final = 2**32 - 2


class SettingProblem(NamedTuple):
    """What is wrong with one environment variable, and what to write instead."""

    name: str
    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


class SettingsReader:
    """Hands out one setting after the other and keeps what is wrong.

    An empty value counts as not set: charts write one where nobody chose. A value with a problem is replaced
    by its default, so that the settings behind it are read as well.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.problems: list[SettingProblem] = []
        self._environment = environment

    def read[T](self, name: str, parse: Callable[[str], T], default: T) -> T:
        text = self._text(name)
        return default if not text else self._parsed(name, parse, text, default)

    def read_list[T](self, name: str, parse: Callable[[str], T], default: tuple[T, ...]) -> tuple[T, ...]:
        """A comma list. Every item that is wrong is a problem of its own."""
        text = self._text(name)
        if not text:
            return default
        items = (self._parsed(name, parse, item.strip(), None) for item in text.split(","))
        return tuple(item for item in items if item is not None)

    def _text(self, name: str) -> str:
        return self._environment.get(name, "").strip()

    def _parsed[T, D](self, name: str, parse: Callable[[str], T], text: str, default: D) -> T | D:
        try:
            return parse(text)
        except Fault as fault:
            self.problems.append(SettingProblem(name, fault.message, fault.fix))
            return default


def parse_port(text: str) -> int:
    if not _is_number(text, 5) or not 0 < int(text) <= MAX_PORT:
        raise Fault(f"{_shown(text)} is not a port", f"write a number from 1 to {MAX_PORT}, such as 443")
    return int(text)


def parse_uid(text: str) -> int:
    if not _is_number(text, 10) or int(text) > MAX_UID:
        raise Fault(f"{_shown(text)} is not a user id", "write the number of the user, such as 1337")
    return int(text)


def parse_flag(text: str) -> bool:
    if text not in {"true", "false"}:
        raise Fault(f"{_shown(text)} is neither true nor false", "write `true` or `false`")
    return text == "true"


def parse_network(text: str) -> IPv4Network | IPv6Network:
    """A CIDR, or an address alone."""
    network = _network(text)
    if network is None:
        fix = "write an address and a prefix length, such as 10.0.0.0/8 or fd00::/8"
        raise Fault(f"{_shown(text)} is not a CIDR", fix)
    bare = text.partition("/")[0]
    if ip_network(bare).network_address != network.network_address:
        # It is a network and so no misplaced secret: here, and below, it may be shown as a whole.
        message = f"`{text}` has bits set behind its prefix"
        raise Fault(message, f"write `{network}`, or `{bare}` for the one address")
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
        fix = f"write the IPv4 address `{network.network_address.ipv4_mapped}` with its own prefix"
        raise Fault(f"`{text}` never matches: mapped addresses leave the pod as IPv4", fix)
    return network


def _network(text: str) -> IPv4Network | IPv6Network | None:
    if "%" in text:  # ipaddress takes a zone, which belongs to one machine
        return None
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _is_number(text: str, digits: int) -> bool:
    """Without a regular expression: the redirect's init container would load `re` for nothing else."""
    return text.isascii() and text.isdecimal() and len(text) <= digits


def _shown(text: str) -> str:
    from proxy.documents.setting_kinds import shown  # noqa: PLC0415 - for mistakes alone

    return shown(text) if text else "an empty item"
