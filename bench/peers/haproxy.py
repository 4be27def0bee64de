"""HAProxy (Debian), twice: as a forward that puts the credential in, and as a relay that does nothing.

The second is the floor: what passing by anybody costs. It is in C, and looks at no byte.
"""

import shutil
from typing import Final

from bench.ground import Place
from bench.peers.subject import Credentials, Owes, Program, Subject

MISSING: Final = "" if shutil.which("haproxy") else "HAProxy is not installed: apt-get install haproxy"

COMMON: Final = """\
global
  nbthread 1
  maxconn 4096
defaults
  timeout connect 10s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
"""
RELAY: Final = """\
  mode tcp
listen all
  bind 127.0.0.1:{port} backlog 4096
  server one {address}:443
"""
FORWARD: Final = """\
  mode http
frontend all
  bind 127.0.0.1:{port} ssl crt {pem} backlog 4096
  default_backend there
backend there
  http-reuse always
  http-request set-header Authorization "Bearer {token}"
  default-server ssl verify required ca-file {authority} pool-max-conn -1
  server one {address}:443 sni str({host}) verifyhost {host}
"""


def relay(place: Place, _: Credentials) -> Program:
    return _program(place, RELAY.format(port=place.port, address=place.address))


def forward(place: Place, credentials: Credentials) -> Program:
    pem = place.folder / "leaf-and-key.pem"
    pem.write_text(place.certificate.chain.read_text() + place.certificate.key.read_text())
    pem.chmod(0o644)
    text = FORWARD.format(
        port=place.port, pem=pem, token=credentials.token, address=place.address,
        authority=place.authority, host=place.host,
    )  # fmt: skip
    return _program(place, text)


def _program(place: Place, text: str) -> Program:
    file = place.folder / "haproxy.cfg"
    file.write_text(COMMON + text)
    file.chmod(0o644)
    return Program(["haproxy", "-db", "-f", str(file)])


SUBJECTS: Final = (
    Subject("plain", "plain relay", Owes.NOTHING, relay, MISSING),
    Subject("haproxy", "HAProxy", Owes.BEARER, forward, MISSING),
)
