"""What people may ask of a running sidecar, through a socket that root and the sidecar's own user can open.

One line of JSON each way, one request per connection. Nothing here has a value of a credential to give.
"""

import asyncio
import json
import os
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from proxy.core.credentials import CredentialRef, derivation_name
from proxy.core.lease import base_of
from proxy.documents.problems import did_you_mean
from proxy.documents.render import kind_name
from proxy.edge.lease_keeper import LeaseKeeper
from proxy.leasing.book import Held

# `{"command": "drop", "credential": "namespace/name"}` with the longest names has some 600 bytes.
MAX_REQUEST: Final = 4096
# For one request and its answer: a client that hangs is let go, and a person does not wait for ever.
SECONDS: Final = 5.0
# struct ucred: pid, uid, gid (unix(7)).
_CREDENTIALS: Final = struct.Struct("3i")

type Json = Mapping[str, Any]


class ControlSocket:
    def __init__(self, path: Path, leases: LeaseKeeper, refused: Callable[[int], None]) -> None:
        self._path = path
        self._leases = leases
        self._refused = refused
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Raises OSError where it cannot be made."""
        # One that a killed process left behind would be in the way.
        self._path.unlink(missing_ok=True)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.bind(str(self._path))
            self._path.chmod(0o600)
        except OSError:
            made.close()
            raise
        self._server = await asyncio.start_unix_server(self._serve, sock=made, limit=MAX_REQUEST)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            await self._server.wait_closed()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with suppress(OSError, TimeoutError, ValueError):
                async with asyncio.timeout(SECONDS):
                    # The mode of the file says the same; a file can be given away, the kernel's word cannot.
                    uid = _peer(writer.get_extra_info("socket"))
                    if uid not in {0, os.geteuid()}:
                        self._refused(uid)
                        return
                    answer = self._answer(await reader.readline())
                    writer.write(json.dumps(answer).encode() + b"\n")
                    await writer.drain()
        finally:
            self._writers.discard(writer)
            writer.close()

    def _answer(self, line: bytes) -> Json:
        try:
            request = json.loads(line)
            command, named = request["command"], request.get("credential")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {"error": "the request could not be read"}
        match command:
            case "list":
                failing = [{"credential": str(ref), "why": why} for ref, why in self._leases.complaints()]
                return {"leases": [listed(held) for held in self._leases.held()], "failing": failing}
            case "drop" if named is None:
                return {"dropped": self._leases.drop(None)}
            case "drop" if isinstance(named, str) and named.count("/") == 1:
                namespace, _, name = named.partition("/")
                wanted, known = CredentialRef(namespace, name), self._leases.sources
                if wanted not in known:
                    hint = did_you_mean(named, map(str, known)) if known else "it names none"
                    return {"error": f"the policy in force names no CredentialSource {named[:320]}; {hint}"}
                return {"dropped": self._leases.drop(wanted)}
            case _:
                return {"error": "there is no such command"}


def listed(held: Held) -> Json:
    """A lease for people: everything but its value."""
    lease = held.lease
    return {
        "credential": str(held.key.ref),
        "kind": kind_name(base_of(held.key).source.kind),
        "derived": derivation_name(held.key.source.kind),
        "scope": held.key.scope,
        "lease": lease.id,
        "issued": lease.issued.isoformat(timespec="seconds"),
        "expires": lease.expires.isoformat(timespec="seconds") if lease.expires is not None else None,
        "ageSeconds": round(held.age),
        "unusedSeconds": round(held.unused) if held.unused is not None else None,
    }


def _peer(sock: socket.socket) -> int:
    data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(data)
    return int(uid)


class ControlError(Exception):
    """Why a sidecar could not be asked, and what to do."""


def ask(path: Path, request: Json) -> Json:
    """What the sidecar behind this socket answers. Blocks for some seconds at most."""
    data = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(SECONDS)
            sock.connect(str(path))
            sock.sendall(json.dumps(request).encode() + b"\n")
            while not data.endswith(b"\n") and (piece := sock.recv(65_536)):
                data += piece
    except (FileNotFoundError, ConnectionRefusedError):
        # Refused: a sidecar that was killed left it behind.
        raise ControlError(
            f"no sidecar listens at {path}: set PODKEY_STATE_DIR as the sidecar has it"
        ) from None
    except (ConnectionResetError, BrokenPipeError):
        pass  # hung up on before it was read; told below
    except PermissionError:
        raise ControlError(f"{path} is for root and the sidecar's user alone") from None
    except OSError as error:
        raise ControlError(f"{path}: {error.strerror or error}") from None
    if not data:
        raise ControlError("the sidecar did not answer: only root and its own user are answered")
    try:
        answer = json.loads(data)
    except ValueError:
        raise ControlError("the sidecar's answer broke off: ask again") from None
    if "error" in answer:
        raise ControlError(str(answer["error"]))
    found: Json = answer
    return found
