"""Where the demo runs: in network namespaces with root, on loopback without."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests import netns

API, REPORTS = "api.openai.com", "reports.corp.example"


@dataclass(frozen=True)
class Place:
    """Where the programs of the demo run, and how the program's calls get to the sidecar."""

    title: str
    capture: str
    api: str
    report: str
    network: netns.PodNetwork | None
    hosts: Path
    port: int

    def command(self, argv: Sequence[str], uid: int, *, outside: bool = False) -> list[str]:
        """The command line that runs a program there as this user."""
        if self.network is None:
            return list(argv)
        ns = self.network.net if outside else self.network.pod
        inner = netns.unlocked(netns.command(argv, ns=ns, uid=uid or None), ())
        # A hosts file of its own: the names of real services lead to the stand-in, for these programs only.
        script = f'mount --bind {self.hosts} /etc/hosts\nexec "$@"'
        return ["unshare", "--mount", "sh", "-ec", script, "sh", *inner]


def on_localhost(policy: str, port: int) -> str:
    """The same grants for a stand-in on loopback: without root no other name can be made to lead there."""
    hosts = f"hosts: [localhost]\n      ports: [{port}]"
    policy = policy.replace("service: openai", hosts).replace(f"hosts: [{REPORTS}]", hosts)
    return policy.replace("key: api-key}", "key: api-key}\n  attach: {bearer: {}}")


@contextmanager
def place(folder: Path, why_explicit: str) -> Iterator[Place]:
    hosts = folder / "hosts"
    if not why_explicit:
        hosts.write_text(f"127.0.0.1 localhost\n{netns.INTERNET_V4} {API} {REPORTS}\n")
        with netns.pod_network() as network:
            title = "network namespaces, an nftables redirect, and a user each for sidecar and program"
            yield Place(title, "transparent", "", f"https://{REPORTS}/daily", network, hosts, 443)
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    title = f"an explicit proxy (HTTPS_PROXY), because {why_explicit}"
    url = f"https://localhost:{port}"
    yield Place(title, "explicit", f"{url}/v1", f"{url}/daily", None, hosts, port)
