"""What a process costs, as the kernel accounts for it, and what else the machine was busy with meanwhile."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TICK: Final = os.sysconf("SC_CLK_TCK")
KIB_PER_MIB: Final = 1024
# In /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal.
BUSY: Final = (0, 1, 2, 5, 6)
STEAL: Final = 7


def family(pid: int) -> list[int]:
    """The process and all that come from it."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name of a program may have blanks and brackets in it.
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


class Accounts:
    """Of a process and its children, as they are when this is made."""

    def __init__(self, pid: int) -> None:
        self._pids = family(pid)

    def cpu(self) -> float:
        """Seconds, from the scheduler: the ticks of /proc/PID/stat are too coarse."""
        return (
            sum(
                int(task.read_text().split()[0])
                for pid in self._pids
                for task in Path(f"/proc/{pid}/task").glob("*/schedstat")
            )
            / 1e9
        )

    def resident(self) -> float:
        """MiB. What several processes share counts for each."""
        return self._memory("VmRSS")

    def peak(self) -> float:
        """MiB, since `forget_peak`."""
        return self._memory("VmHWM")

    def forget_peak(self) -> None:
        for pid in self._pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def _memory(self, field: str) -> float:
        return sum(kib for pid in self._pids for kib in _field(pid, field)) / KIB_PER_MIB


def _field(pid: int, name: str) -> Iterator[int]:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            yield int(line.split()[1])


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one piece of work. `foreign`: what others than the subject, its load and the upstream used of the
    whole machine meanwhile, and `steal` what its host kept back, in cores."""

    cpu: float
    seconds: float
    foreign: float
    steal: float


def measured[T](subject: Accounts, upstream: Accounts, work: Callable[[], T]) -> tuple[Cost, T]:
    began, cpu, ours, all_busy, all_steal = time.monotonic(), subject.cpu(), _ours(upstream), *_machine()
    outcome = work()
    now_busy, now_steal = _machine()
    used, load, seconds = subject.cpu() - cpu, _ours(upstream) - ours, time.monotonic() - began
    foreign = max(0.0, now_busy - all_busy - used - load)
    return Cost(used, seconds, foreign / seconds, (now_steal - all_steal) / seconds), outcome


def _ours(upstream: Accounts) -> float:
    """Used by this process, by load generators that have ended, and by the upstream."""
    return sum(os.times()[:4]) + upstream.cpu()


def _machine() -> tuple[float, float]:
    times = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return sum(times[at] for at in BUSY) / TICK, times[STEAL] / TICK
