"""What our lanes cost beside Envoy, nginx, HAProxy and a plain relay, all in one run (docs/performance.md).

Each round starts every subject anew, then takes one figure of all of them before it takes the next, so that
whatever else the machine does meets them alike. Prints Markdown, and writes bench/results/suite.json.
"""

import argparse
import json
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import load
from bench.accounting import Accounts, Cost, measured
from bench.arrival import headers_for, must_arrive, sdk_headers
from bench.circumstances import circumstances, why_not
from bench.goals import verdicts
from bench.ground import Ground, ground
from bench.peers import envoy, haproxy, nginx, podkey
from bench.peers.subject import Credentials, Owes, Subject
from bench.program import Running
from bench.table import figures_table, goals_table
from bench.upstream import BUCKET
from tests.s3_signer import Keys
from tests.warm_up import warm_up_sidecar

RESULTS: Final = Path(__file__).parent / "results"
SUBJECTS: Final = (*podkey.SUBJECTS, *envoy.SUBJECTS, *nginx.SUBJECTS, *haproxy.SUBJECTS)
GIB: Final = 1 << 30
MIB: Final = 1 << 20
MANY: Final = 64
CONNECTIONS: Final = (1, 16, 64)
START_SECONDS: Final = 30.0
PREPARED_SECONDS: Final = 1.0
PATIENCE: Final = 5


@dataclass(frozen=True, slots=True)
class Effort:
    rounds: int
    seconds: int
    warms_up: bool
    bulk: int
    many: int
    connections: int


FULL: Final = Effort(rounds=3, seconds=3, warms_up=True, bulk=GIB, many=512 * MIB, connections=600)
# For CI: that everything runs and every credential arrives. Nobody should read its figures.
QUICK: Final = Effort(rounds=1, seconds=1, warms_up=False, bulk=64 * MIB, many=64 * MIB, connections=40)


@dataclass(frozen=True, slots=True)
class Column:
    """A subject, and how it is asked. Whatever is not the plain way is taken for small requests only."""

    subject: Subject
    kind: str = ""

    @property
    def name(self) -> str:
        return f"{self.subject.name}, {self.kind}" if self.kind else self.subject.name

    @property
    def title(self) -> str:
        return f"{self.subject.title}, {self.kind}" if self.kind else self.subject.title


OTHER_PATHS: Final = "other paths"
FROM_SDK: Final = "from an SDK"


def columns_of(subject: Subject) -> list[Column]:
    kinds = [""]
    if subject.has_variants:
        kinds += [OTHER_PATHS] + ([FROM_SDK] if subject.owes is Owes.SIGNATURE else [])
    return [Column(subject, kind) for kind in kinds]


class Suite:
    def __init__(self, here: Ground, upstream: Accounts, effort: Effort, subjects: Sequence[Subject]) -> None:
        self._ground = here
        self._upstream = upstream
        self._effort = effort
        self._columns = [column for subject in subjects for column in columns_of(subject)]
        self._subjects = subjects
        self.figures: dict[str, dict[str, list[float]]] = {column.name: {} for column in self._columns}
        self.titles = {column.name: column.title for column in self._columns}
        self.ciphers: dict[str, str] = {}
        self._credentials = Credentials(
            secrets.token_hex(24),
            Keys(f"AKIA{secrets.token_hex(8).upper()}", secrets.token_hex(20)),
            f"podkey-placeholder-{secrets.token_hex(16)}",
            Keys(f"PODKEY{secrets.token_hex(7).upper()}", f"podkey-placeholder-{secrets.token_hex(10)}"),
        )
        self._running: dict[str, Running] = {}
        # How many requests of this round were answered.
        self._asked: Counter[str] = Counter()

    def round(self, number: int) -> None:
        with self._all_running():
            turned = [*self._columns[number:], *self._columns[:number]]
            main = [column for column in turned if not column.kind]
            for column in main:
                self._take(column, "rss idle", self._accounts(column).resident())
            if self._effort.warms_up:
                # With as many connections as will ever be, so that what goes upstream is open.
                for column in main:
                    self._ask(column, max(CONNECTIONS), 1)
            for connections in CONNECTIONS:
                for column in turned:
                    self._small(column, connections)
            for column in main:
                self._take(column, "rss after", self._accounts(column).resident())
            for column in main:
                self._connections(column)
            for streams in (1, 4):
                for upload in (False, True):
                    for column in main:
                        self._bulk(column, streams, upload=upload)
            for column in main:
                self._peak(column)

    @contextmanager
    def _all_running(self) -> Iterator[None]:
        try:
            for subject in self._subjects:
                self._running[subject.name] = Running(self._ground, subject, self._credentials)
            # Until the namespaces and mounts of all are made: the first to start would wait for those.
            time.sleep(PREPARED_SECONDS)
            for subject in self._subjects:
                self._start(Column(subject))
            yield
            for running in self._running.values():
                running.check()
        finally:
            records = {name: running.end() for name, running in self._running.items()}
            self._running.clear()
        for subject in self._subjects:
            asked, told = self._asked.pop(subject.name, 0), records[subject.name]
            if subject.lane and told < asked:
                raise SystemExit(f"bench: {subject.title}: {told} audit records of {asked} requests")

    def _start(self, column: Column) -> None:
        running = self._running[column.subject.name]
        headers = headers_for(column.subject.owes, self._credentials)
        served = load.first_served(self._ground, running.place, headers, running.go, START_SECONDS)
        running.check()
        if not served:
            raise SystemExit(f"bench: {column.title} serves nothing:\n{running.words()}")
        self._take(column, "start", served - running.began)
        self._take(column, "start cpu", running.account().cpu())
        self.ciphers[column.title] = must_arrive(self._ground, running, self._credentials)

    # --- the figures ---

    def _small(self, column: Column, connections: int) -> None:
        # Where everything else is busy, a second may pass before the first answer.
        for seconds in (self._effort.seconds << doubled for doubled in range(PATIENCE)):
            cost, small = self._measured(column, partial(self._ask, column, connections, seconds))
            if small.requests:
                break
        else:
            raise SystemExit(f"bench: {column.title} answered nothing for {seconds} s")
        self._take(column, f"c{connections} cpu", cost.cpu / small.requests * 1e6)
        self._take(column, f"c{connections} rate", small.rate)
        self._take(column, f"c{connections} p50", small.p50_us)
        self._take(column, f"c{connections} p99", small.p99_us)

    def _ask(self, column: Column, connections: int, seconds: int) -> load.Small:
        place = self._running[column.subject.name].place
        headers = headers_for(column.subject.owes, self._credentials)
        if column.kind == FROM_SDK:
            headers = sdk_headers(place.host, self._credentials, f"/{BUCKET}/small")
        other = column.kind == OTHER_PATHS
        small = load.small(self._ground, place, headers, connections, seconds, other=other)
        self._asked[column.subject.name] += small.requests
        return small

    def _connections(self, column: Column) -> None:
        place = self._running[column.subject.name].place
        headers = headers_for(column.subject.owes, self._credentials)
        count = self._effort.connections
        cost, _ = self._measured(column, partial(load.connections, self._ground, place, headers, count))
        self._take(column, "connection cpu", cost.cpu / count * 1e6)
        self._asked[column.subject.name] += count

    def _bulk(self, column: Column, streams: int, *, upload: bool) -> None:
        cost = self._transfer(column, self._effort.bulk, streams, upload=upload)
        way = f"{'put' if upload else 'get'}{streams}"
        self._take(column, f"{way} cpu", cost.cpu / (self._effort.bulk / GIB))
        self._take(column, f"{way} rate", self._effort.bulk / GIB / cost.seconds)

    def _peak(self, column: Column) -> None:
        accounts = self._accounts(column)
        accounts.forget_peak()
        for upload in (False, True):
            self._transfer(column, self._effort.many, MANY, upload=upload)
        self._take(column, "rss peak", accounts.peak())

    def _transfer(self, column: Column, size: int, streams: int, *, upload: bool) -> Cost:
        place = self._running[column.subject.name].place
        headers = headers_for(column.subject.owes, self._credentials)
        return self._measured(
            column, partial(load.bulk, self._ground, place, headers, size, streams, upload=upload)
        )[0]

    def _measured[T](self, column: Column, work: Callable[[], T]) -> tuple[Cost, T]:
        self._running[column.subject.name].check()
        cost, outcome = measured(self._accounts(column), self._upstream, work)
        self._take(column, "foreign", cost.foreign)
        self._take(column, "steal", cost.steal)
        return cost, outcome

    def _accounts(self, column: Column) -> Accounts:
        accounts = self._running[column.subject.name].accounts
        assert accounts is not None
        return accounts

    def _take(self, column: Column, figure: str, value: float) -> None:
        self.figures[column.name].setdefault(figure, []).append(value)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument(
        "--quick", action="store_true", help="a minute or two, for CI: no figure is judged"
    )
    arguments.add_argument("--rounds", type=int, help="how often all is measured (default: 3; quick: 1)")
    names = [one.name for one in SUBJECTS]
    arguments.add_argument("--only", nargs="+", choices=names, default=names, help="these subjects")
    given = arguments.parse_args()
    if reason := why_not():
        print(f"bench/suite.py: left out: {reason}")
        return
    effort = QUICK if given.quick else FULL
    rounds = given.rounds or effort.rounds
    chosen = [one for one in SUBJECTS if one.name in given.only]
    subjects = [one for one in chosen if not one.missing]
    left_out = {one.title: one.missing for one in chosen if one.missing}
    around = circumstances()
    if podkey.image_root() is None:
        warm_up_sidecar()
    began = time.monotonic()
    with ground([one.name for one in subjects]) as (here, upstream):
        suite = Suite(here, Accounts(upstream.pid), effort, subjects)
        for number in range(rounds):
            print(
                f"round {number + 1} of {rounds}, {time.monotonic() - began:.0f} s",
                file=sys.stderr,
                flush=True,
            )
            suite.round(number)
    report(suite, around, left_out, judged=not given.quick and rounds >= FULL.rounds)


def report(suite: Suite, around: dict[str, str], left_out: dict[str, str], *, judged: bool) -> None:
    for name, text in around.items():
        print(f"- {name}: {text}")
    for name, text in suite.ciphers.items():
        print(f"- TLS of {name}: {text}")
    for name, text in left_out.items():
        print(f"- left out: {name}: {text}")
    print(f"\n{figures_table(suite.figures, suite.titles)}\n{goals_table(suite.figures, judged=judged)}")
    goals: list[dict[str, Any]] = [
        {
            **asdict(one.goal),
            "value": one.value,
            "low": one.low,
            "high": one.high,
            "verdict": one.word if judged else "",
        }
        for one in verdicts(suite.figures)
    ]
    result = {
        "judged": judged,
        **around,
        "TLS": suite.ciphers,
        "left out": left_out,
        "figures": suite.figures,
        "goals": goals,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "suite.json").write_text(json.dumps(result, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
