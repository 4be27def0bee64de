from ipaddress import ip_address, ip_network

import pytest

from proxy.core.redirect import Redirect, render_removal, render_ruleset

DEFAULT = """\
table inet podkey {}
delete table inet podkey
table inet podkey {
    chain refuse {
        meta l4proto tcp reject with tcp reset
        reject with icmpx port-unreachable
    }
    chain guard {
        type filter hook output priority -150; policy accept;
        meta skuid 1337 accept
        oifname "lo" accept
        ct state established accept
        ip daddr { 169.254.169.254, 169.254.170.2, 169.254.170.23 } counter jump refuse
        ip6 daddr { fd00:ec2::23, fd00:ec2::254, fd20:ce::254 } counter jump refuse
        udp dport { 443, 80 } counter jump refuse
    }
    chain capture {
        type nat hook output priority -100; policy accept;
        meta skuid 1337 accept
        oifname "lo" accept
        tcp flags & (fin | syn | rst | ack) == syn tcp dport { 443, 80 } counter redirect to :15001
    }
}
"""

EVERYTHING_ELSE = """\
table inet podkey {}
delete table inet podkey
table inet podkey {
    chain refuse {
        meta l4proto tcp reject with tcp reset
        reject with icmpx port-unreachable
    }
    chain guard {
        type filter hook output priority -150; policy accept;
        meta skuid 7000 accept
        oifname "lo" accept
        ct state established accept
        ip daddr { 100.100.100.200 } counter jump refuse
        ip daddr { 10.0.0.0/8, 192.0.2.7 } accept
        ip6 daddr { fd00::/8 } accept
        udp dport { 8443, 443 } counter jump refuse
    }
    chain capture {
        type nat hook output priority -100; policy accept;
        meta skuid 7000 accept
        oifname "lo" accept
        ip daddr { 10.0.0.0/8, 192.0.2.7 } accept
        ip6 daddr { fd00::/8 } accept
        tcp flags & (fin | syn | rst | ack) == syn tcp dport { 8443, 443 } counter redirect to :16001
    }
}
"""


def rules(redirect: Redirect) -> list[str]:
    return [line.strip() for line in render_ruleset(redirect).splitlines()]


def test_the_default_rules_are_these() -> None:
    assert render_ruleset(Redirect()) == DEFAULT


def test_every_field_has_its_place_in_the_rules() -> None:
    redirect = Redirect(
        proxy_uid=7000,
        port=16001,
        captured_ports=(8443, 443, 80),
        excluded_ports=(80, 9000),
        excluded_cidrs=(ip_network("10.0.0.0/8"), ip_network("fd00::/8"), ip_network("192.0.2.7")),
        metadata_addresses=(ip_address("100.100.100.200"),),
    )

    assert render_ruleset(redirect) == EVERYTHING_ELSE


def test_networks_that_overlap_are_written_once() -> None:
    networks = tuple(
        map(ip_network, ("10.1.0.0/16", "10.0.0.0/8", "10.0.0.0/8", "192.0.2.0/25", "192.0.2.128/25"))
    )

    assert rules(Redirect(excluded_cidrs=networks)).count("ip daddr { 10.0.0.0/8, 192.0.2.0/24 } accept") == 2


def test_ports_keep_their_order_and_stand_once() -> None:
    assert Redirect(captured_ports=(443, 80, 443, 8443), excluded_ports=(80,)).ports == (443, 8443)


def test_without_the_fence_and_quic_nothing_is_refused() -> None:
    redirect = Redirect(fence_metadata=False, reject_quic=False, excluded_cidrs=(ip_network("10.0.0.0/8"),))

    assert [rule for rule in rules(redirect) if "jump" in rule] == []
    assert rules(redirect).count("ip daddr { 10.0.0.0/8 } accept") == 1  # of use to the capture only


@pytest.mark.parametrize("changes", [{}, {"excluded_cidrs": (ip_network("169.254.0.0/16"),)}])
def test_the_fence_comes_before_every_exclusion(changes: dict[str, tuple[object, ...]]) -> None:
    guard = render_ruleset(Redirect(**changes)).partition("chain guard")[2].partition("chain capture")[0]  # type: ignore[arg-type]

    assert "169.254.169.254" in guard.partition("169.254.0.0/16")[0]


def test_removal_is_the_beginning_of_the_rules() -> None:
    """So a set of rules replaces the one before it, whatever that was."""
    assert render_removal() == "table inet podkey {}\ndelete table inet podkey\n"
    assert DEFAULT.startswith(render_removal())
