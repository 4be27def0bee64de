"""A gRPC server beyond the pod, by grpcio itself. Messages are bytes: there is nothing to compile."""

import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any, Self

import grpc  # type: ignore[import-untyped] # it ships none

from tests.netns import INTERNET_V4
from tests.upstreams import enter

SERVICE = "podkey.Echo"


class GrpcUpstream:
    """`Unary`, `Fail`, `Download`, `Upload` and `Talk`, which echo. `calls`: method and metadata of each."""

    def __init__(self, chain: Path, key: Path, *, ns: str | None = None, address: str = INTERNET_V4) -> None:
        self.calls: list[tuple[str, dict[str, str]]] = []
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        methods = {
            "Unary": grpc.unary_unary_rpc_method_handler(self._unary),
            "Fail": grpc.unary_unary_rpc_method_handler(self._fail),
            "Download": grpc.unary_stream_rpc_method_handler(self._download),
            "Upload": grpc.stream_unary_rpc_method_handler(self._upload),
            "Talk": grpc.stream_stream_rpc_method_handler(self._talk),
        }
        handler = grpc.method_handlers_generic_handler(SERVICE, methods)
        self._server.add_generic_rpc_handlers((handler,))
        credentials = grpc.ssl_server_credentials([(key.read_bytes(), chain.read_bytes())])
        failed: list[BaseException] = []

        def bind() -> None:
            try:
                if ns is not None:
                    enter(ns)
                self.port = self._server.add_secure_port(f"{address}:443", credentials)
            except Exception as error:  # noqa: BLE001 - raised below, in the test's own thread
                failed.append(error)

        thread = threading.Thread(target=bind)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.stop(0).wait(10)

    def _note(self, method: str, context: Any) -> None:
        self.calls.append((method, {str(name): str(value) for name, value in context.invocation_metadata()}))
        context.set_trailing_metadata((("x-trailer", f"after {method}"),))

    def _unary(self, message: bytes, context: Any) -> bytes:
        self._note("Unary", context)
        return message

    def _fail(self, _message: bytes, context: Any) -> bytes:
        self._note("Fail", context)
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no more of this")
        return b""

    def _download(self, message: bytes, context: Any) -> Iterator[bytes]:
        self._note("Download", context)
        for number in range(int(message)):
            yield b"%d" % number

    def _upload(self, messages: Iterator[bytes], context: Any) -> bytes:
        self._note("Upload", context)
        return b"%d" % sum(len(message) for message in messages)

    def _talk(self, messages: Iterator[bytes], context: Any) -> Iterator[bytes]:
        self._note("Talk", context)
        for message in messages:
            yield b"re: " + message
