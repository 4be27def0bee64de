"""In processes of their own: what a process gives up it does not get back."""

import ctypes
import errno
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from proxy.edge import hardening as module
from proxy.edge.hardening import give_back, harden

# Hardens itself at each line that it reads, and tells what may still be done with it.
CHILD = """
import ctypes, os, resource, sys
from proxy.edge.hardening import harden
PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4
kernel = ctypes.CDLL(None)
if len(sys.argv) > 1:
    os.setgroups([])
    os.setgid(int(sys.argv[1]))
    os.setuid(int(sys.argv[1]))
    # Changing the user took it; a container's first process has it from its start.
    kernel.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
print("here", flush=True)
for _ in sys.stdin:
    said = harden()
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    print(said, kernel.prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), *limits, flush=True)
"""
# The modules are read before the user is another, who may not read them.
OPENER = """
import os, sys
uid, path = int(sys.argv[1]), sys.argv[2]
os.setgroups([])
os.setgid(uid)
os.setuid(uid)
try:
    os.close(os.open(path, os.O_RDONLY))
except OSError as error:
    sys.exit(error.errno)
"""
SOMEBODY = 64_321


class Child:
    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.line() == "here"

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def harden(self) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.line()

    def opened_by(self, uid: int) -> int:
        """What a process of this user gets that opens the memory: 0, or an error's number."""
        memory = f"/proc/{self.process.pid}/mem"
        command = [sys.executable, "-I", "-S", "-c", OPENER, str(uid), memory]
        return subprocess.run(command, check=False).returncode

    def end(self) -> None:
        self.process.communicate("")


def test_afterwards_there_is_no_dump_of_us() -> None:
    child = Child()

    assert child.harden() == "None 0 0 0"
    child.end()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to start processes of another user")
def test_another_process_of_the_same_user_cannot_read_our_memory() -> None:
    child = Child(str(SOMEBODY))
    before, said = child.opened_by(SOMEBODY), child.harden()
    after = child.opened_by(SOMEBODY)
    child.end()

    assert (said, after) == ("None 0 0 0", errno.EACCES)
    if before != 0:
        pytest.skip("this kernel closes it to processes beside the parent anyway (yama)")


@pytest.mark.parametrize(
    ("number", "why"), [(errno.EINVAL, "Invalid argument"), (0, "Operation not permitted")]
)
def test_a_kernel_that_refuses_is_told_of(monkeypatch: pytest.MonkeyPatch, number: int, why: str) -> None:
    class Kernel:
        @staticmethod
        def prctl(*_: int) -> int:
            ctypes.set_errno(number)
            return -1

    monkeypatch.setattr(module.ctypes, "CDLL", lambda *_, **__: Kernel())
    monkeypatch.setattr(module.resource, "setrlimit", lambda *_: None)

    assert harden() == why


def test_what_was_freed_goes_back_where_the_library_can(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    glibc = SimpleNamespace(malloc_trim=asked.append)
    for library in (glibc, SimpleNamespace()):
        monkeypatch.setattr(module.ctypes, "CDLL", lambda _, library=library: library)
        give_back()
    assert asked == [0]
