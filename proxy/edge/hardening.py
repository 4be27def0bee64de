"""What the process gives up before it holds a credential."""

import ctypes
import errno
import os
import resource
from typing import Final

# linux/prctl.h.
_PR_SET_DUMPABLE: Final = 4


def harden() -> str | None:
    """No core dump, and no reading of our memory by another process of the same user: a container that runs
    as our user all the same, or a debugger that is started there. Why not, where the kernel refuses."""
    # A dump of our memory would hold credentials.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # RLIMIT_CORE does not hold where the kernel pipes dumps to a program (core(5)); this does, and it closes
    # /proc/PID/mem and ptrace to our own uid (prctl(2), ptrace(2)).
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        return os.strerror(ctypes.get_errno() or errno.EPERM)
    return None


def give_back() -> None:
    """What a start has used and freed, to the kernel, where the C library can: glibc keeps it otherwise."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
