"""Pins that images and tests stand on: what mitmproxy's own pin would keep us from; both architectures."""

import re
import shutil
import subprocess
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import pytest
from mitmproxy.proxy.layers.http._http2 import Http2Connection

from tests.raw_h2 import Field, Http2

ROOT = Path(__file__).resolve().parents[2]
# The first release that refuses several Host fields (docs/adr/0017).
SAFE = (4, 4, 1)
PLATFORMS = {"amd64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}

REQUEST: tuple[Field, ...] = ((b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/"))


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


@pytest.mark.parametrize("file", ["dev", "proxy"])
def test_h2_is_pinned_behind_its_hole_in_tests_and_images_alike(file: str) -> None:
    pins = (ROOT / "requirements" / f"{file}.txt").read_text()
    found = re.findall(r"^h2==(\S+)", pins, re.MULTILINE)
    assert found == [h2.__version__]
    assert version(h2.__version__) >= SAFE


@pytest.mark.parametrize(
    "hosts",
    [
        pytest.param(((b"host", b"a.example"), (b"host", b"b.example")), id="two hosts"),
        pytest.param(((b"host", b"a.example"), (b"host", b"a.example")), id="one host twice"),
    ],
)
def test_h2_itself_refuses_several_hosts_as_mitmproxy_configures_it(hosts: tuple[Field, ...]) -> None:
    """Our own check stands before it (tests/integration/test_smuggling.py); this is the second line."""
    client = Http2()
    client.open(1, (*REQUEST, *hosts))
    server = h2.connection.H2Connection(
        h2.config.H2Configuration(**Http2Connection.h2_conf_defaults, client_side=False)
    )
    server.initiate_connection()
    with pytest.raises(h2.exceptions.ProtocolError, match="multiple Host"):
        server.receive_data(client.sent)


def test_h2_takes_the_same_request_with_one_host() -> None:
    client = Http2()
    client.open(1, (*REQUEST, (b"host", b"a.example")))
    server = h2.connection.H2Connection(
        h2.config.H2Configuration(**Http2Connection.h2_conf_defaults, client_side=False)
    )
    server.initiate_connection()
    assert any(isinstance(one, h2.events.RequestReceived) for one in server.receive_data(client.sent))


@pytest.mark.parametrize("arch", PLATFORMS)
@pytest.mark.parametrize("program", ["proxy", "injector"])
def test_every_pinned_package_has_a_wheel(program: str, arch: str, tmp_path: Path) -> None:
    """Which is how `images/build` unpacks them: nothing is built from source, on either architecture."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(ROOT / ".tools" / "bin"))
    if uv is None:
        pytest.skip("uv is not installed: run make setup")
    words = [uv, "pip", "install", "--dry-run", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    words += [
        "--no-config",
        "--system-certs",
        "--python-version",
        "3.13",
        "--python-platform",
        PLATFORMS[arch],
    ]
    words += [
        "--target",
        str(tmp_path / "packages"),
        "--requirement",
        str(ROOT / f"requirements/{program}.txt"),
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode and re.search(r"error sending request|dns error|Connection refused", done.stderr):
        pytest.skip("no package index can be reached from here")
    assert done.returncode == 0, done.stderr
    assert f"Would install {len(wanted(program))} packages" in done.stderr


def wanted(program: str) -> set[str]:
    """The names whose markers hold on Linux and Python 3.13."""
    from packaging.markers import Marker  # noqa: PLC0415 - of the tests alone
    from packaging.requirements import Requirement  # noqa: PLC0415

    lines = (ROOT / f"requirements/{program}.txt").read_text().splitlines()
    found = [Requirement(line.rstrip(" \\")) for line in lines if line[:1].isalnum()]
    image = {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_python_implementation": "CPython",
        "python_full_version": "3.13.5",
        "python_version": "3.13",
        "sys_platform": "linux",
    }
    return {one.name for one in found if one.marker is None or Marker(str(one.marker)).evaluate(image)}
