"""The redirect in a real kernel: namespaces of our own, and programs as the users of a pod."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from ipaddress import ip_network
from subprocess import PIPE
from time import monotonic

import pytest

from proxy.core.contract import METADATA_ADDRESSES, PROXY_UID, TRANSPARENT_PORT
from proxy.core.redirect import GUARD_PRIORITY, Redirect, render_removal, render_ruleset
from tests.netns import (
    APP_UID,
    INTERNET_V4,
    INTERNET_V6,
    POD_V4,
    POD_V6,
    PodNetwork,
    allow_ping,
    load_rules,
    pod_network,
    podkey_command,
    popen_as,
    requires_netns,
    run_as,
    run_in,
    running,
)

pytestmark = requires_netns

ROOT_UID = 0
OTHER_PORT = 8080
LAST_ACK = "09"  # as /proc/net/tcp writes it
REFUSED, STOPPED = "ECONNREFUSED", "EPERM"

# Listens, greets each connection with its name and the original destination, then echoes. Answers datagrams.
SERVER = """
import selectors, socket, struct, sys, ipaddress
name, *places = sys.argv[1:]
wait = selectors.DefaultSelector()
for place in places:
    kind, host, port = place.split(",")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    s = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind((host, int(port)))
    if kind == "tcp":
        s.listen(64)
    wait.register(s, selectors.EVENT_READ, kind)
print("ready", flush=True)
def original(c):
    six = c.family == socket.AF_INET6
    try:
        raw = c.getsockopt(socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP, 80, 28)
    except OSError:
        return ""
    host = ipaddress.ip_address(raw[8:24] if six else raw[4:8])
    return f" {host} {struct.unpack_from('!H', raw, 2)[0]}"
def serve(s, kind):
    if kind == "tcp":
        c, _ = s.accept()
        wait.register(c, selectors.EVENT_READ, "echo")
        c.sendall((name + (original(c) if name == "proxy" else "")).encode())
    elif kind == "udp":
        data, peer = s.recvfrom(100)
        s.sendto(name.encode(), peer)
    elif s.recv(100):
        s.sendall(b"echo")
    else:
        close(s)
def close(s):
    wait.unregister(s)
    s.close()
while True:
    for key, _ in wait.select():
        try:
            serve(key.fileobj, key.data)
        except OSError:
            # `verify` ends its probes with a reset, which may be there before we are.
            if key.data == "echo":
                close(key.fileobj)
"""

# Calls every target and says what came of it: the greeting, or the name of the error.
CLIENT = """
import errno, json, socket, sys
def call(kind, host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with {
        "tcp": lambda: socket.socket(family, socket.SOCK_STREAM),
        "mptcp": lambda: socket.socket(family, socket.SOCK_STREAM, 262),
        "udp": lambda: socket.socket(family, socket.SOCK_DGRAM),
        "icmp": lambda: socket.socket(
            family,
            socket.SOCK_DGRAM,
            socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP,
        ),
    }[kind]() as s:
        s.settimeout(5)
        s.connect((host, port))
        if kind == "udp":
            s.send(b"hello")
        elif kind == "icmp":
            s.send(bytes([128 if family == socket.AF_INET6 else 8, 0, 0, 0, 0, 1, 0, 1]))
            s.recv(100)
            return "pong"
        return s.recv(100).decode()
outcomes = []
for target in json.loads(sys.argv[1]):
    try:
        outcomes.append(call(*target))
    except OSError as error:
        outcomes.append(errno.errorcode.get(error.errno, type(error).__name__))
print(json.dumps(outcomes))
"""

# Connects, and speaks only when it is told to.
PATIENT_CLIENT = """
import socket, sys
s = socket.create_connection((sys.argv[1], 443), 5)
s.recv(100)
print("ready", flush=True)
sys.stdin.readline()
s.sendall(b"x")
print(s.recv(100).decode(), flush=True)
"""

Target = tuple[str, str, int]


def calls(
    network: PodNetwork, targets: Sequence[Target], uid: int = APP_UID, gid: int | None = None
) -> list[str]:
    argv = [sys.executable, "-c", CLIENT, json.dumps(targets)]
    done = run_as(uid, argv, ns=network.pod, gid=gid)
    assert done.returncode == 0, done.stderr.decode()
    answers = json.loads(done.stdout)
    assert isinstance(answers, list)
    return answers


def serve(ns: str, name: str, places: Sequence[Target], stack: ExitStack, uid: int = ROOT_UID) -> None:
    argv = [sys.executable, "-c", SERVER, name, *(f"{kind},{host},{port}" for kind, host, port in places)]
    stack.enter_context(running(popen_as(uid, argv, ns=ns, stdout=PIPE)))


def serve_proxy(network: PodNetwork, stack: ExitStack, port: int = TRANSPARENT_PORT) -> None:
    """What the sidecar is to the kernel: a listener on loopback with no capability at all."""
    serve(network.pod, "proxy", [("tcp", "127.0.0.1", port), ("tcp", "::1", port)], stack, PROXY_UID)


@pytest.fixture(scope="module")
def network() -> Iterator[PodNetwork]:
    """A pod with an internet that answers, and with nothing loaded."""
    with pod_network(internet=METADATA_ADDRESSES) as network, ExitStack() as stack:
        allow_ping(network.pod)
        ports = [("tcp", 443), ("tcp", 80), ("tcp", OTHER_PORT), ("udp", 443), ("udp", 53)]
        places = [
            (kind, host, port)
            for kind, port in ports
            for host in (INTERNET_V4, INTERNET_V6, *METADATA_ADDRESSES)
        ]
        serve(network.net, "internet", places, stack)
        yield network


@pytest.fixture
def proxied(network: PodNetwork) -> Iterator[PodNetwork]:
    """The same with a sidecar and the default redirect."""
    with ExitStack() as stack:
        serve_proxy(network, stack)
        load_rules(network.pod, render_ruleset(Redirect()))
        yield network
        load_rules(network.pod, render_removal())


@pytest.fixture
def bare(network: PodNetwork) -> Iterator[PodNetwork]:
    """No sidecar, nothing loaded, and nothing left over."""
    yield network
    run_in(network.pod, ["nft", "flush", "ruleset"], check=True)


# --- capture -------------------------------------------------------------------------------------


@pytest.mark.parametrize("uid", [APP_UID, ROOT_UID])
def test_calls_to_captured_ports_reach_the_proxy_with_their_destination(
    proxied: PodNetwork, uid: int
) -> None:
    targets = [("tcp", host, port) for host in (INTERNET_V4, INTERNET_V6) for port in (443, 80)]

    assert calls(proxied, targets, uid) == [f"proxy {host} {port}" for _, host, port in targets]


def test_ipv4_in_ipv6_clothes_is_captured_as_ipv4(proxied: PodNetwork) -> None:
    assert calls(proxied, [("tcp", f"::ffff:{INTERNET_V4}", 443)]) == [f"proxy {INTERNET_V4} 443"]


def test_multipath_tcp_is_no_way_around(proxied: PodNetwork) -> None:
    """Its subflows are sockets of the kernel; a rule that asks for a user that differs may not see one."""
    targets = [("mptcp", host, 443) for host in (INTERNET_V4, INTERNET_V6)]

    assert calls(proxied, targets) == [f"proxy {INTERNET_V4} 443", f"proxy {INTERNET_V6} 443"]


def test_other_ports_stay_as_they_are(proxied: PodNetwork) -> None:
    targets = [
        (kind, host, port)
        for host in (INTERNET_V4, INTERNET_V6)
        for kind, port in (("tcp", OTHER_PORT), ("udp", 53))
    ]

    assert calls(proxied, targets) == ["internet"] * 4


def test_the_proxy_itself_is_not_captured(proxied: PodNetwork) -> None:
    targets = [(kind, host, 443) for host in (INTERNET_V4, INTERNET_V6) for kind in ("tcp", "mptcp", "udp")]

    assert calls(proxied, targets, PROXY_UID) == ["internet"] * 6


def test_the_proxys_group_frees_nobody(proxied: PodNetwork) -> None:
    answers = calls(proxied, [("tcp", INTERNET_V4, 443)], APP_UID, gid=PROXY_UID)

    assert answers == [f"proxy {INTERNET_V4} 443"]


def test_loopback_and_the_pods_own_addresses_stay_out(proxied: PodNetwork) -> None:
    own = ("127.0.0.1", "::1", POD_V4, POD_V6)
    targets = [(kind, host, 443) for host in own for kind in ("tcp", "udp")]
    with ExitStack() as stack:
        serve(proxied.pod, "own", targets, stack)

        assert calls(proxied, targets) == ["own"] * len(targets)


def test_nobody_outside_the_pod_reaches_the_proxys_port(proxied: PodNetwork) -> None:
    targets = [("tcp", host, TRANSPARENT_PORT) for host in (POD_V4, POD_V6)]
    outside = PodNetwork(pod=proxied.net, net=proxied.pod)

    assert calls(outside, targets, ROOT_UID) == [REFUSED, REFUSED]


def test_excluded_networks_and_ports_stay_out(proxied: PodNetwork) -> None:
    redirect = Redirect(excluded_cidrs=(ip_network("203.0.113.0/24"),), excluded_ports=(80,))
    load_rules(proxied.pod, render_ruleset(redirect))

    targets = [("tcp", INTERNET_V4, 443), ("udp", INTERNET_V4, 443), ("tcp", INTERNET_V6, 80)]
    assert calls(proxied, targets) == ["internet"] * 3
    assert calls(proxied, [("tcp", INTERNET_V6, 443)]) == [f"proxy {INTERNET_V6} 443"]

    load_rules(proxied.pod, render_ruleset(Redirect(excluded_cidrs=(ip_network("2001:db8::/32"),))))
    assert calls(proxied, [("tcp", INTERNET_V6, 443)]) == ["internet"]
    assert calls(proxied, [("tcp", INTERNET_V4, 443)]) == [f"proxy {INTERNET_V4} 443"]


def test_a_connection_that_is_older_than_the_rules_goes_on(bare: PodNetwork) -> None:
    argv = [sys.executable, "-c", PATIENT_CLIENT, INTERNET_V4]
    process = popen_as(APP_UID, argv, ns=bare.pod, stdin=PIPE, stdout=PIPE)
    with running(process):
        load_rules(bare.pod, render_ruleset(Redirect()))
        out, _ = process.communicate(b"now\n", timeout=10)

    assert out == b"echo\n"


# --- QUIC ----------------------------------------------------------------------------------------


def test_quic_is_refused_at_once_unless_that_is_switched_off(proxied: PodNetwork) -> None:
    targets = [("udp", host, 443) for host in (INTERNET_V4, INTERNET_V6, f"::ffff:{INTERNET_V4}")]

    assert calls(proxied, targets) == [STOPPED] * 3

    load_rules(proxied.pod, render_ruleset(Redirect(reject_quic=False)))
    assert calls(proxied, targets) == ["internet"] * 3


# --- the metadata fence --------------------------------------------------------------------------

EVERY_WAY: Sequence[tuple[str, int]] = (
    ("tcp", 80),
    ("tcp", 443),
    ("tcp", OTHER_PORT),
    ("mptcp", 80),
    ("mptcp", OTHER_PORT),
    ("udp", 53),
    ("udp", 443),
    ("icmp", 0),
)


@pytest.mark.parametrize("uid", [APP_UID, ROOT_UID])
def test_no_way_leads_to_a_metadata_address(proxied: PodNetwork, uid: int) -> None:
    hosts = (*METADATA_ADDRESSES, "::ffff:169.254.169.254")
    # The kernel has no ICMP for an IPv4 address in IPv6 clothes.
    targets = [(k, h, p) for h in hosts for k, p in EVERY_WAY if not (k == "icmp" and "ffff" in h)]

    # Datagrams fail when they are sent, or on the answer to them.
    answers = dict(zip(targets, calls(proxied, targets, uid), strict=True))
    assert {
        t: a for t, a in answers.items() if a not in ({REFUSED} if "tcp" in t[0] else {REFUSED, STOPPED})
    } == {}


def test_the_proxy_reaches_the_metadata_addresses(proxied: PodNetwork) -> None:
    targets = [(kind, host, port) for host in METADATA_ADDRESSES for kind, port in EVERY_WAY]

    answers = calls(proxied, targets, PROXY_UID)

    assert answers == ["pong" if kind == "icmp" else "internet" for kind, _, _ in targets]


def test_the_proxys_connections_to_a_metadata_address_end_in_order(proxied: PodNetwork) -> None:
    """The kernel sends the last packet of a closed socket for nobody; it must not be refused."""
    assert calls(proxied, [("tcp", "169.254.169.254", 80)], PROXY_UID) == ["internet"]

    deadline = monotonic() + 5
    while LAST_ACK in (states := tcp_states(proxied.net)):
        assert monotonic() < deadline, states


def tcp_states(ns: str) -> list[str]:
    lines = run_in(ns, ["cat", "/proc/net/tcp"], check=True).stdout.decode().splitlines()
    return [line.split()[3] for line in lines[1:]]


def test_an_excluded_network_does_not_lift_the_fence(proxied: PodNetwork) -> None:
    redirect = Redirect(excluded_cidrs=(ip_network("169.254.0.0/16"), ip_network("fd00::/8")))
    load_rules(proxied.pod, render_ruleset(redirect))

    targets = [("tcp", host, 80) for host in METADATA_ADDRESSES]
    assert calls(proxied, targets) == [REFUSED] * len(targets)


def test_without_the_fence_captured_ports_reach_the_proxy_and_others_the_service(
    proxied: PodNetwork,
) -> None:
    load_rules(proxied.pod, render_ruleset(Redirect(fence_metadata=False)))

    for host in ("169.254.169.254", "fd00:ec2::254"):
        targets = [("tcp", host, 80), ("tcp", host, OTHER_PORT), ("udp", host, 53), ("icmp", host, 0)]
        assert calls(proxied, targets) == [f"proxy {host} 80", "internet", "internet", "pong"]


def test_a_fence_behind_the_redirect_would_miss_the_captured_ports(proxied: PodNetwork) -> None:
    """Why the guard has the priority it has."""
    load_rules(proxied.pod, fence_too_late())

    targets = [("tcp", "169.254.169.254", port) for port in (80, OTHER_PORT)]
    assert calls(proxied, targets) == ["proxy 169.254.169.254 80", REFUSED]


# --- podkey redirect -----------------------------------------------------------------------------


def redirect_command(
    network: PodNetwork, *words: str, uid: int = ROOT_UID, caps: Sequence[str] | None = ("net_admin",)
) -> tuple[int, str, str]:
    done = run_as(uid, podkey_command("redirect", *words), ns=network.pod, caps=caps)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def rules_in(network: PodNetwork) -> str:
    return run_in(network.pod, ["nft", "list", "ruleset"], check=True).stdout.decode()


@pytest.mark.parametrize("uid", [ROOT_UID, 65534])
def test_net_admin_alone_is_enough(bare: PodNetwork, uid: int) -> None:
    status, out, err = redirect_command(bare, "apply", "--verify", uid=uid)

    assert (status, err) == (0, "")
    assert out.startswith("loaded: TCP to 443, 80 goes to port 15001")
    assert redirect_command(bare, "show", "--live", uid=uid)[0] == 0
    assert redirect_command(bare, "remove", uid=uid)[0] == 0
    assert rules_in(bare) == ""


@pytest.mark.parametrize("uid", [ROOT_UID, APP_UID])
@pytest.mark.parametrize("words", [("apply",), ("remove",), ("show", "--live")])
def test_without_net_admin_it_says_what_is_missing(
    bare: PodNetwork, uid: int, words: tuple[str, ...]
) -> None:
    status, out, err = redirect_command(bare, *words, uid=uid, caps=())

    assert (status, out) == (1, "")
    assert "the capability NET_ADMIN is missing" in err
    assert "PODKEY_CAPTURE=explicit" in err


def test_applying_twice_is_applying_once_and_the_last_word_holds(bare: PodNetwork) -> None:
    load_rules(bare.pod, "table inet other {\nchain c {\ntype filter hook output priority 0\n}\n}\n")
    before = rules_in(bare)

    assert redirect_command(bare, "apply")[0] == 0
    once = rules_in(bare)
    assert redirect_command(bare, "apply")[0] == 0
    assert rules_in(bare) == once
    assert redirect_command(bare, "apply", "--capture-ports", "8443")[0] == 0
    assert "8443" in rules_in(bare)
    assert "{ 80, 443 }" not in rules_in(bare)

    assert redirect_command(bare, "remove")[0] == 0
    assert redirect_command(bare, "remove")[0] == 0
    assert rules_in(bare) == before  # another program's table is not ours


def test_what_is_shown_is_what_nft_takes(bare: PodNetwork) -> None:
    settings = ("--exclude-cidrs", "10.0.0.0/8,10.1.0.0/16,fd00::/8,192.0.2.1", "--capture-ports", "443")
    status, shown, _ = redirect_command(bare, "show", *settings, uid=APP_UID, caps=None)
    assert status == 0

    run_in(bare.pod, ["nft", "-c", "-f", "-"], input=shown.encode(), check=True)
    assert rules_in(bare) == ""


def test_what_is_live_is_shown_with_counters(proxied: PodNetwork) -> None:
    calls(proxied, [("tcp", INTERNET_V4, 443), ("udp", INTERNET_V4, 443), ("udp", "169.254.169.254", 53)])

    status, shown, _ = redirect_command(proxied, "show", "--live")

    assert status == 0
    assert shown.count("counter packets 1 ") == 3


def test_what_is_live_may_be_nothing(bare: PodNetwork) -> None:
    assert redirect_command(bare, "show", "--live") == (
        1,
        "",
        "podkey redirect show: no redirect is loaded here\n    fix: run `podkey redirect apply`\n",
    )


@pytest.mark.parametrize(
    "redirect",
    [
        Redirect(fence_metadata=False, reject_quic=False),
        Redirect(captured_ports=(1, 443, 65535), excluded_ports=(1,)),
        Redirect(proxy_uid=4294967294, port=65535),
        Redirect(metadata_addresses=()),
        Redirect(excluded_cidrs=tuple(ip_network(f"10.{n}.0.0/15", strict=False) for n in range(200))),
    ],
)
def test_every_shape_of_the_rules_is_taken(bare: PodNetwork, redirect: Redirect) -> None:
    load_rules(bare.pod, render_ruleset(redirect))


# --- podkey redirect verify ----------------------------------------------------------------------


MISSENT = "port 443 is refused: a rule rejects it, or sends it to where nothing listens"
AROUND = "leaves the pod: QUIC goes around the proxy"


def fence_too_late() -> str:
    return render_ruleset(Redirect()).replace(f"priority {GUARD_PRIORITY}", "priority 0")


def verified(network: PodNetwork, *words: str, uid: int = APP_UID) -> dict[str, str]:
    """The names of the checks that failed, with what was said; the rest held."""
    argv = podkey_command("redirect", "verify", "--output", "json", *words)
    done = run_as(uid, argv, ns=network.pod)
    assert done.stderr == b""
    answer = json.loads(done.stdout)
    failed = {check["name"]: check["detail"] for check in answer["checks"] if not check["ok"]}
    assert answer["ok"] == (not failed)
    assert done.returncode == bool(failed)
    return failed


@pytest.mark.parametrize("uid", [APP_UID, ROOT_UID])
def test_verify_is_content_beside_a_running_sidecar(proxied: PodNetwork, uid: int) -> None:
    assert verified(proxied, uid=uid) == {}


def test_verify_is_content_before_the_sidecar_runs(bare: PodNetwork) -> None:
    load_rules(bare.pod, render_ruleset(Redirect()))

    assert verified(bare) == {}


def test_verify_knows_its_call_though_the_kernel_changes_the_port(bare: PodNetwork) -> None:
    """The ports of calls to two destinations may be the same, until both are led to one."""
    load_rules(bare.pod, render_ruleset(Redirect()))
    script = "echo 40000 40001 > /proc/sys/net/ipv4/ip_local_port_range"
    before = run_in(bare.pod, ["cat", "/proc/sys/net/ipv4/ip_local_port_range"], check=True).stdout.decode()
    run_in(bare.pod, ["sh", "-c", script], check=True)
    try:
        assert verified(bare) == {}
    finally:
        run_in(bare.pod, ["sh", "-c", script.replace("40000 40001", before.strip())], check=True)


def test_verify_says_each_thing_on_a_line(bare: PodNetwork) -> None:
    load_rules(bare.pod, render_ruleset(Redirect()))

    done = run_as(APP_UID, podkey_command("redirect", "verify"), ns=bare.pod)

    assert done.stdout.decode().splitlines() == [
        "ok      IPv4 TCP: calls to 443, 80 arrive at 127.0.0.1:15001",
        "ok      IPv4 QUIC: UDP to 443, 80 is refused at once",
        "ok      IPv6 TCP: calls to 443, 80 arrive at [::1]:15001",
        "ok      IPv6 QUIC: UDP to 443, 80 is refused at once",
        "ok      metadata: 6 metadata addresses are out of reach",
    ]


def test_verify_as_the_proxy_asks_for_another_user(proxied: PodNetwork) -> None:
    assert verified(proxied, uid=PROXY_UID) == {
        "user": "this runs as 1337, the proxy's own user, which the redirect spares"
    }


def test_a_pod_without_ipv6_is_fine() -> None:
    with pod_network(v6=False) as network:
        done = redirect_command(network, "apply", "--verify")

    assert done[0] == 0
    assert "ok      IPv6: no IPv6 here (" in done[1]


def test_a_pod_without_a_network_cannot_be_verified() -> None:
    with pod_network() as network:
        run_in(network.pod, ["ip", "link", "set", "p0", "down"], check=True)

        assert list(verified(network)) == ["network"]


@pytest.mark.slow
def test_verify_finds_that_nothing_is_loaded(bare: PodNetwork) -> None:
    assert verified(bare) == {
        "IPv4 TCP": "port 443 left the pod: it is not redirected (no answer)",
        "IPv4 QUIC": "UDP port 443 leaves the pod: QUIC goes around the proxy",
        "IPv6 TCP": "port 443 left the pod: it is not redirected (Network is unreachable)",
        "IPv6 QUIC": "UDP port 443 leaves the pod: QUIC goes around the proxy",
        "metadata": "169.254.169.254 is not fenced: calls to it leave the pod",
    }


@pytest.mark.parametrize(
    ("rules", "failed"),
    [
        (
            render_ruleset(Redirect()).replace("tcp flags", "meta nfproto ipv4 tcp flags"),
            {"IPv6 TCP": "port 443 left the pod: it is not redirected (Network is unreachable)"},
        ),
        (
            render_ruleset(Redirect(captured_ports=(443,))),
            {
                "IPv4 QUIC": f"UDP port 80 {AROUND}",
                "IPv6 QUIC": f"UDP port 80 {AROUND}",
                "IPv4 TCP": "port 80 left the pod: it is not redirected (no answer)",
                "IPv6 TCP": "port 80 left the pod: it is not redirected (Network is unreachable)",
            },
        ),
        (
            render_ruleset(Redirect(port=15999)),
            {"IPv4 TCP": MISSENT, "IPv6 TCP": MISSENT},
        ),
        (
            render_ruleset(Redirect(reject_quic=False)),
            {"IPv4 QUIC": f"UDP port 443 {AROUND}", "IPv6 QUIC": f"UDP port 443 {AROUND}"},
        ),
        (
            render_ruleset(Redirect(fence_metadata=False)),
            {"metadata": "169.254.169.254 is not fenced: calls to it leave the pod"},
        ),
        (
            render_ruleset(Redirect(metadata_addresses=Redirect().metadata_addresses[:3])),
            {"metadata": "fd00:ec2::254 is not fenced: calls to it leave the pod"},
        ),
        # Datagrams are refused, and calls to port 80 are not: the order of the hooks.
        (
            fence_too_late(),
            {
                "metadata": "169.254.169.254 is not fenced: "
                "TCP port 80 answers; a fence behind the redirect never sees it"
            },
        ),
    ],
)
def test_verify_says_what_is_wrong(bare: PodNetwork, rules: str, failed: dict[str, str]) -> None:
    load_rules(bare.pod, rules)

    assert verified(bare) == failed


@pytest.mark.slow
def test_verify_finds_another_redirect(bare: PodNetwork) -> None:
    """A service mesh that was there first: the earlier nat chain wins."""
    mesh = render_ruleset(Redirect(proxy_uid=1338, port=15999)).replace("inet podkey", "inet mesh")
    load_rules(bare.pod, mesh.replace("priority -100", "priority -101"))
    load_rules(bare.pod, render_ruleset(Redirect()))
    with ExitStack() as stack:
        serve_proxy(bare, stack, port=15999)

        failed = verified(bare)

    assert failed == {
        "IPv4 TCP": "port 443 was answered, but not at 127.0.0.1:15001: something else redirects it",
        "IPv6 TCP": "port 443 was answered, but not at [::1]:15001: something else redirects it",
    }


def test_verify_finds_a_proxy_that_listens_for_one_family_only(bare: PodNetwork) -> None:
    load_rules(bare.pod, render_ruleset(Redirect()))
    with ExitStack() as stack:
        serve(bare.pod, "proxy", [("tcp", "127.0.0.1", TRANSPARENT_PORT)], stack, PROXY_UID)

        assert verified(bare) == {
            "IPv6 TCP": "calls go to [::1]:15001, where nothing listens, though the proxy listens for IPv4"
        }


def test_verify_leaves_out_what_is_not_asked_for(bare: PodNetwork) -> None:
    load_rules(bare.pod, render_ruleset(Redirect(fence_metadata=False, reject_quic=False)))

    assert verified(bare, "--fence-metadata", "false", "--reject-quic", "false") == {}
