"""The company's egress proxy: who it is, what it is told, and what its refusals mean."""

from base64 import b64encode
from pathlib import Path
from typing import Final

from proxy.core.secret import Secret
from proxy.core.settings import EgressProxy
from proxy.edge.outgoing_faults import AskOutcome, OutgoingError

# A user name, a colon, a password; NTLM domains and long passwords stay below.
MAX_CREDENTIALS: Final = 1024
_FILE_SETTING: Final = "PODKEY_EGRESS_PROXY_AUTH_FILE"


def called(proxy: EgressProxy) -> str:
    return f"the egress proxy {proxy}"


def proxy_authorization(auth_file: str | None) -> Secret | None:
    """What `Proxy-Authorization` holds (RFC 7617). The file is read each time: a rotated password counts."""
    if auth_file is None:
        return None
    try:
        with Path(auth_file).open("rb") as stream:
            data = stream.read(MAX_CREDENTIALS + 1)
    except OSError as error:
        raise _useless(f"cannot be read ({error.strerror}): check the path and its permissions") from None
    # One line break, as editors leave it.
    line = data.removesuffix(b"\n").removesuffix(b"\r") if data.endswith(b"\n") else data
    if len(data) > MAX_CREDENTIALS or b":" not in line or any(byte < 0x20 or byte == 0x7F for byte in line):
        raise _useless("does not hold `user:password` on one line: write them so")
    return Secret(b"Basic " + b64encode(line))


def tunnel_refused(proxy: EgressProxy, host: str, status: int, *, with_credentials: bool) -> OutgoingError:
    """The proxy answered CONNECT with a status that opens no tunnel."""
    if status == 407:
        fix = (
            f"check those in {_FILE_SETTING}"
            if with_credentials
            else f"name a file of them in {_FILE_SETTING}"
        )
        why = (
            f"it does not take podkey's credentials; {fix}"
            if with_credentials
            else f"it wants credentials; {fix}"
        )
    elif 400 <= status < 500:
        why = "have the host allowed there, or add it to PODKEY_EGRESS_NO_PROXY"
    elif status >= 500:
        why = "it cannot reach the host itself; look at its log, or add the host to PODKEY_EGRESS_NO_PROXY"
    else:
        why = "no proxy answers so; check PODKEY_EGRESS_PROXY"
    message = f"{called(proxy)} answered {status} to a tunnel to {host}: {why}"
    return OutgoingError(AskOutcome.UNREACHABLE, message)


def _useless(why: str) -> OutgoingError:
    return OutgoingError(AskOutcome.UNREACHABLE, f"the file that {_FILE_SETTING} names {why}")
