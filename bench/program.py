"""A subject's process: pinned to its core, as the sidecar's user, with no capability."""

import os
import shutil
import subprocess
import time
from contextlib import suppress
from typing import Final

from bench.accounting import Accounts
from bench.ground import PROXY_CORE, ROOT, Ground, Place, environment
from bench.peers.podkey import INSIDE, image_root
from bench.peers.subject import AUDIT, Credentials, Program, Subject
from proxy.core.contract import PROXY_UID
from tests import netns

END_SECONDS: Final = 20.0
# Everything before it (namespaces, mounts) is done when the word comes, so that a start is the program's own.
WAIT_FOR_WORD: Final = ["sh", "-c", 'read -r _ && exec "$@"', "sh"]


class Running:
    def __init__(self, ground: Ground, subject: Subject, credentials: Credentials) -> None:
        self.subject = subject
        self.place = ground.place(subject.name)
        self.log = self.place.folder / "log"
        program = subject.program(self.place, credentials)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ground.command(["taskset", "-c", str(PROXY_CORE), *_as_sidecar(program, self.place)]),
                env=environment(program.environment),
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        # As a container runtime does, somebody reads what it writes: through a pipe, and on another core.
        audit = self.place.folder / AUDIT
        lane = "" if subject.lane is None else f'"lane":"{subject.lane.value}"'
        count = ["sh", "-c", 'exec grep --fixed-strings --count -e "$1" <"$0"', str(audit), lane]
        self._reader = subprocess.Popen(count, stdout=subprocess.PIPE) if audit.exists() else None
        self.began = 0.0
        self.accounts: Accounts | None = None

    def go(self) -> None:
        assert self.process.stdin is not None
        self.began = time.monotonic()
        self.process.stdin.write(b"\n")
        self.process.stdin.close()

    def account(self) -> Accounts:
        """Once it serves: then it has all its processes."""
        self.accounts = Accounts(self.process.pid)
        return self.accounts

    def check(self) -> None:
        if self.process.poll() is not None:
            raise SystemExit(f"bench: {self.subject.title} ended:\n{self.words()}")

    def words(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    def end(self) -> int:
        """How many audit records there were of the lane that it is."""
        self.process.terminate()
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        records = self._records()
        shutil.rmtree(self.place.folder)
        return records

    def _records(self) -> int:
        if self._reader is None:
            return 0
        # Who never wrote has left the reader waiting for a writer.
        with suppress(OSError):
            os.close(os.open(self.place.folder / AUDIT, os.O_WRONLY | os.O_NONBLOCK))
        return int(self._reader.communicate(timeout=END_SECONDS)[0])


def _as_sidecar(program: Program, place: Place) -> list[str]:
    if not program.in_image:
        inner = netns.command([*WAIT_FOR_WORD, *program.argv], uid=PROXY_UID, caps=())
        return netns.unlocked(inner, program.readable)
    root = image_root()
    mounts = (
        ("/proc", "proc"),
        ("/dev", "dev"),
        ("/etc/hosts", "etc/hosts"),
        (place.folder, str(INSIDE)[1:]),
    )
    script = "".join(f"mount --rbind {source} {root}/{target}; " for source, target in mounts)
    user = f"--userspec={PROXY_UID}:{PROXY_UID}"
    enter = f'{script} read -r _; exec chroot {user} --groups= {root} "$@"'
    return ["unshare", "--mount", "sh", "-ec", enter, "sh", *program.argv]
