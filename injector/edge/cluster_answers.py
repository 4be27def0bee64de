"""What the API server answers: JSON, the events of a watch one by one, and what its refusals say."""

import json
import time
from collections.abc import Generator
from http import HTTPStatus
from typing import Any, Final, Protocol

from injector.core.api import BAD_ANSWER, NAMESPACE_ENDS, TIMED_OUT, TOO_LARGE, ClusterFault

# etcd takes no object above 1.5 MiB (--max-request-bytes), and JSON with managedFields is larger than that.
MAX_EVENT: Final = 8 << 20
# What an error says is short; it is cut for logs anyway.
MAX_FAULT: Final = 64 << 10
MAX_MESSAGE: Final = 512
FAULT_SECONDS: Final = 5.0

_FIXES: Final[dict[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "; the API server does not know our token, which is read again each minute",
    HTTPStatus.FORBIDDEN: "; grant it to podkey-injector's service account, as the chart's ClusterRole does",
}

type Json = dict[str, Any]


class Answer(Protocol):
    """`read` gives what has come, and nothing at the end. `wake` ends a read that waits in another thread."""

    @property
    def status(self) -> int: ...
    @property
    def retry_after(self) -> str | None: ...
    def read(self) -> bytes: ...
    def wake(self) -> None: ...
    def close(self) -> None: ...


class WatchStream:
    """The events of one watch. `close` may come from any thread, also while an event is awaited."""

    def __init__(self, answer: Answer, what: str) -> None:
        self._answer = answer
        self._what = what
        self._closed = False

    def __iter__(self) -> Generator[Json]:
        """Ends when the server ends it in peace, or with `close`."""
        buffer = bytearray()
        try:
            while chunk := self._chunk():
                # Only what is new can hold the end of a line.
                looked = len(buffer)
                buffer += chunk
                while (end := buffer.find(b"\n", looked)) >= 0:
                    line = bytes(buffer[:end])
                    del buffer[: end + 1]
                    looked = 0
                    if line.strip():
                        yield json_object(line, self._what)
                if len(buffer) > MAX_EVENT:
                    long = f"{self._what}: an event has more than {MAX_EVENT} bytes"
                    raise ClusterFault(None, TOO_LARGE, long)
            if buffer.strip() and not self._closed:
                raise ClusterFault(None, BAD_ANSWER, f"{self._what}: it ended within an event")
        finally:
            self._answer.close()

    def _chunk(self) -> bytes:
        try:
            return b"" if self._closed else self._answer.read()
        except ClusterFault:
            if self._closed:
                return b""
            raise

    def close(self) -> None:
        self._closed = True
        self._answer.wake()


def read_whole(answer: Answer, what: str, most: int, deadline: float) -> bytes:
    data = bytearray()
    while chunk := answer.read():
        data += chunk
        if len(data) > most:
            raise ClusterFault(None, TOO_LARGE, f"{what}: the answer has more than {most} bytes")
        if time.monotonic() > deadline:
            raise ClusterFault(None, TIMED_OUT, f"{what}: the answer did not end in time")
    return bytes(data)


def json_object(data: bytes, what: str) -> Json:
    try:
        read = json.loads(data.decode())
    except (ValueError, RecursionError):
        raise ClusterFault(None, BAD_ANSWER, f"{what}: the answer is no JSON") from None
    if not isinstance(read, dict):
        raise ClusterFault(None, BAD_ANSWER, f"{what}: the answer is no JSON object")
    return read


def fault_of(answer: Answer, what: str) -> ClusterFault:
    """From the `Status` that the server sends; from the status code where it is none (a proxy's page)."""
    try:
        told = json_object(read_whole(answer, what, MAX_FAULT, time.monotonic() + FAULT_SECONDS), what)
    except ClusterFault:
        told = {}
    status, reason, message = answer.status, told.get("reason"), told.get("message")
    word = reason if isinstance(reason, str) and reason else _phrase(status)
    fix = _FIXES.get(status, "")
    if _namespace_ends(told):
        word, fix = NAMESPACE_ENDS, ""
    # What a server says about a Secret may quote it, unless it is about who may have it.
    may_quote = "/secrets" in what and status not in _FIXES
    said = message if isinstance(message, str) and not may_quote else ""
    if status == HTTPStatus.NOT_FOUND and not told:
        said = "the API server does not know this kind: install the chart's CustomResourceDefinitions"
    text = f"{what}: {status} {word}" + (f": {said}" if said else "")
    text = text if text.isprintable() else text.encode("unicode_escape").decode()
    return ClusterFault(status, word, text[:MAX_MESSAGE] + fix, _seconds(answer.retry_after))


def _namespace_ends(told: Json) -> bool:
    match told:
        case {"details": {"causes": list(causes)}}:
            return any(isinstance(one, dict) and one.get("reason") == NAMESPACE_ENDS for one in causes)
        case _:
            return False


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase.title().replace(" ", "")
    except ValueError:
        return BAD_ANSWER


def _seconds(retry_after: str | None) -> float | None:
    """Kubernetes sends no date."""
    if retry_after is None or not (retry_after.isascii() and retry_after.isdigit()) or len(retry_after) > 6:
        return None
    return float(retry_after)
