"""A running sidecar as a test sees it: what it writes, what its admin port shows, its memory, its end."""

import functools
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from proxy.core.contract import ADMIN_PORT
from tests.netns import NAMESPACES, PodNetwork

# Far above what anything takes here; reached only when something hangs.
WAIT_SECONDS: Final = 10.0
STEP_SECONDS: Final = 0.01
SETTLES_SECONDS: Final = 2.0

_SAMPLE: Final = re.compile(r"([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)").fullmatch
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"').findall


def in_namespace[T](ns: str, work: Callable[[], T]) -> T:
    """Do something in a network namespace: sockets that it makes stay there."""
    outcome: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with (NAMESPACES / ns).open() as file:
                os.setns(file.fileno(), os.CLONE_NEWNET)
            outcome.append(work())
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            errors.append(error)

    # Only this thread moves, and it ends here.
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return outcome[0]


def wait_for[T](look: Callable[[], T], what: str, seconds: float = WAIT_SECONDS) -> T:
    """What `look` returns, as soon as it is true."""
    end = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s in vain for {what}")
        time.sleep(STEP_SECONDS)
    return found


class Sidecar:
    """A running `podkey run`."""

    def __init__(self, process: subprocess.Popen[bytes], network: PodNetwork, log: Path, audit: Path) -> None:
        self.process = process
        self.network = network
        self.log_file = log
        self.audit_file = audit

    @property
    def pid(self) -> int:
        return self.process.pid

    # --- what it writes ---

    def log(self) -> str:
        """Everything on standard output and standard error."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log().splitlines(keepends=True) if _is_record(line)]

    def audit(self, ending: str = "") -> list[dict[str, Any]]:
        """The records of requests that ended; with `ending="open"` those of long ones before their end."""
        return [
            record for record in self._audit_lines() if (record["ending"] == "open") is (ending == "open")
        ]

    def _audit_lines(self) -> list[dict[str, Any]]:
        if not self.audit_file.exists():
            return []
        text = self.audit_file.read_text()
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def wait_audit(self, count: int, seconds: float = WAIT_SECONDS) -> list[dict[str, Any]]:
        """The audit records, as soon as there are that many."""
        return wait_for(
            lambda: records if len(records := self.audit()) >= count else [],
            f"{count} audit records",
            seconds,
        )

    def audited(self) -> int:
        """How many records there are, when those of all that was judged are written: the last ones may still
        be on their way when whoever asked has gone on. What is still under way is not waited for."""

        def count() -> list[int]:
            records = self.audit()
            ended = sum(record["ending"] != "open" for record in records)
            return [len(records)] if ended >= self.metric("podkey_requests_total") else []

        with suppress(AssertionError):
            return wait_for(count, "the records of what was judged", SETTLES_SECONDS)[0]
        return len(self.audit())

    def wait_log(self, event: str, seconds: float = WAIT_SECONDS, count: int = 1) -> list[dict[str, Any]]:
        """The log lines of an event, as soon as there are that many."""

        def look() -> list[dict[str, Any]]:
            lines = [line for line in self.log_lines() if line["event"] == event]
            return lines if len(lines) >= count else []

        return wait_for(look, f"the log line {event!r}", seconds)

    def wait_idle(self) -> None:
        """Until every connection has ended: then every record is written."""
        wait_for(lambda: self.metric("podkey_connections_open") == 0, "the connections to end")

    # --- its admin port ---

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page of the admin port; status 0 while nobody listens."""
        try:
            sock = in_namespace(
                self.network.pod, lambda: socket.create_connection(("127.0.0.1", ADMIN_PORT), 5)
            )
        except OSError:
            return 0, ""
        with sock:
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(functools.partial(sock.recv, 65_536), b"")).decode()
        head, _, body = answer.partition("\r\n\r\n")
        return int(head.split(" ", 2)[1]), body

    def metrics_text(self) -> str:
        return self.get("/metrics")[1]

    def metrics(self) -> dict[str, float]:
        """Samples by `name{labels}`, as they are written."""
        found = {}
        for line in self.metrics_text().splitlines():
            match = _SAMPLE(line)
            if match is not None:
                key = match[1] if match[2] is None else f"{match[1]}{{{match[2]}}}"
                found[key] = float(match[3])
        return found

    def metric(self, name: str, **labels: str) -> float:
        """The sum of all samples of this name that have these labels."""
        total = 0.0
        for key, value in self.metrics().items():
            found, _, rest = key.partition("{")
            if found == name and labels.items() <= dict(_LABEL(rest)).items():
                total += value
        return total

    # --- its memory ---

    def rss_bytes(self) -> int:
        return self._status("VmRSS")

    def peak_rss_bytes(self) -> int:
        return self._status("VmHWM")

    def status_text(self) -> str:
        """What the kernel says of it."""
        return Path(f"/proc/{self.pid}/status").read_text()

    def _status(self, field: str) -> int:
        for line in self.status_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
        raise KeyError(field)

    # --- its end ---

    def terminate(self) -> None:
        """SIGTERM: it drains."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = 30.0) -> int:
        """Its exit status."""
        return self.process.wait(seconds)

    def stop(self) -> int:
        self.terminate()
        return self.wait()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def _is_record(line: str) -> bool:
    return line.startswith("{") and line.endswith("}\n")
