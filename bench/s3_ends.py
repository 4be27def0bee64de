"""What stands on both sides of the sidecar in bench/s3.py: a store and a client that cost little.

Programs of their own, so that their CPU is not the sidecar's.
"""

import argparse
import http.client
import json
import secrets
import socket
import ssl
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.s3_signer import Keys, Mode, Signer

MIB = 1 << 20
PART = 16 * MIB
IN_FLIGHT = 8
PIECE = 256 * 1024
BUCKET, KEY = "bench", "checkpoint"
REGION = "us-east-1"


# --- the store that costs nothing ----------------------------------------------------------------------


class Sink:
    """It takes all, keeps nothing, gives zeros, and tells with whose keys it was asked."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._keys: set[str] = set()
        self._bytes = 0

    def serve(self) -> None:
        print(self._listener.getsockname()[1], flush=True)
        while True:
            sock, _ = self._listener.accept()
            threading.Thread(target=self._talk, args=(sock,), daemon=True).start()

    def _talk(self, plain: socket.socket) -> None:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        buffer = memoryview(bytearray(PIECE))
        zeros = bytes(PIECE)
        try:
            with self._context.wrap_socket(plain, server_side=True) as sock:
                held = b""
                while True:
                    while b"\r\n\r\n" not in held:
                        more = sock.recv(PIECE)
                        if not more:
                            return
                        held += more
                    head, _, held = held.partition(b"\r\n\r\n")
                    held = self._answer(sock, head.decode("latin-1"), held, buffer, zeros)
        except OSError:
            return

    def _answer(self, sock: ssl.SSLSocket, head: str, held: bytes, buffer: memoryview, zeros: bytes) -> bytes:
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ")
        fields = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
        if "Credential=" in fields.get("authorization", ""):
            self._keys.add(fields["authorization"].partition("Credential=")[2].partition("/")[0])
        left = int(fields.get("content-length", "0"))
        taken = min(left, len(held))
        held, left = held[taken:], left - taken
        self._bytes += left + taken
        while left:
            left -= sock.recv_into(buffer[: min(left, PIECE)])
        if method == "GET" and "range" in fields:
            begin, _, end = fields["range"].removeprefix("bytes=").partition("-")
            size = int(end) - int(begin) + 1
            sock.sendall(f"HTTP/1.1 206 P\r\ncontent-type: b/o\r\ncontent-length: {size}\r\n\r\n".encode())
            while size:
                sock.sendall(zeros[: min(size, PIECE)])
                size -= min(size, PIECE)
            return held
        told = json.dumps(sorted(self._keys)) if target == "/told" else "<UploadId>1</UploadId>"
        sock.sendall(f'HTTP/1.1 200 OK\r\netag: "1"\r\ncontent-length: {len(told)}\r\n\r\n{told}'.encode())
        return held


# --- the client ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """What the client is told. `keys`: the placeholders, or, past the relay, what the store itself takes."""

    proxy: int
    host: str
    port: int
    trust: str
    access_key_id: str
    secret_access_key: str
    mode: str
    size: int
    download: bool


class Client:
    """Raw and threaded: bodies are made once, so that most of what it does is to send."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._host = f"{job.host}:{job.port}"
        self._signer = Signer(Keys(job.access_key_id, job.secret_access_key), REGION)
        self._context = ssl.create_default_context(cafile=job.trust)
        self._part = secrets.token_bytes(MIB) * (PART // MIB)
        self._etags: dict[int, str] = {}

    def run(self) -> None:
        path = f"/{BUCKET}/{KEY}"
        sock = self._connect()
        upload = ""
        if not self._job.download:
            told = self._call(sock, "POST", f"{path}?uploads")[1].decode()
            upload = told.partition("<UploadId>")[2].partition("<")[0]
        work = iter(range(self._job.size // PART))
        lock = threading.Lock()
        failures: list[BaseException] = []

        def worker() -> None:
            try:
                connection = self._connect()
                while True:
                    with lock:
                        number = next(work, None)
                    if number is None or failures:
                        return
                    if self._job.download:
                        self._get(connection, path, number)
                    else:
                        self._put(connection, f"{path}?partNumber={number + 1}&uploadId={upload}", number + 1)
            except BaseException as error:  # noqa: BLE001 - raised below
                failures.append(error)

        threads = [threading.Thread(target=worker) for _ in range(IN_FLIGHT)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        if upload:
            parts = "".join(
                f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
                for number, etag in sorted(self._etags.items())
            )
            body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
            self._call(self._connect(), "POST", f"{path}?uploadId={upload}", body)

    def _connect(self) -> ssl.SSLSocket:
        sock = socket.create_connection(("127.0.0.1", self._job.proxy), 120)
        sock.sendall(f"CONNECT {self._host} HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += sock.recv(4096)
        if b" 200 " not in answer:
            raise OSError(answer.decode())
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._context.wrap_socket(sock, server_hostname=self._job.host)

    def _call(
        self, sock: ssl.SSLSocket, method: str, target: str, body: bytes = b""
    ) -> tuple[http.client.HTTPResponse, bytes]:
        one = self._signer.upload(method, self._host, target, body, Mode.UNSIGNED)
        return self._ask(sock, one.head + one.body, method)

    @staticmethod
    def _ask(sock: ssl.SSLSocket, data: bytes, method: str) -> tuple[http.client.HTTPResponse, bytes]:
        sock.sendall(data)
        answer = http.client.HTTPResponse(sock, method=method)
        answer.begin()
        body = answer.read()
        if answer.status not in {200, 206}:
            raise OSError(f"{method}: {answer.status} {body.decode(errors='replace')}")
        return answer, body

    def _put(self, sock: ssl.SSLSocket, target: str, number: int) -> None:
        one = self._signer.upload("PUT", self._host, target, self._part, Mode(self._job.mode))
        sock.sendall(one.head)
        answer, _ = self._ask(sock, one.body, "PUT")
        self._etags[number] = answer.getheader("etag") or ""

    def _get(self, sock: ssl.SSLSocket, path: str, number: int) -> None:
        span = {"range": f"bytes={number * PART}-{(number + 1) * PART - 1}"}
        headers = self._signer.signed("GET", self._host, path, span)
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items()), "", ""]
        sock.sendall("\r\n".join(lines).encode())
        buffer = memoryview(bytearray(PIECE))
        held = b""
        while b"\r\n\r\n" not in held:
            more = sock.recv(PIECE)
            if not more:
                raise OSError("the connection ended in a head")
            held += more
        head, _, body = held.partition(b"\r\n\r\n")
        if b" 206 " not in head.split(b"\r\n")[0]:
            raise OSError((head + body).decode(errors="replace"))
        left = PART - len(body)
        while left:
            got = sock.recv_into(buffer[: min(left, PIECE)])
            if not got:
                raise OSError("the connection ended in a body")
            left -= got


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--sink", nargs=2, type=Path, help="certificate and key")
    arguments.add_argument("--client", type=json.loads, help="a Job")
    given = arguments.parse_args()
    if given.sink:
        Sink(*given.sink).serve()
    if given.client:
        Client(Job(**given.client)).run()


if __name__ == "__main__":
    main()
