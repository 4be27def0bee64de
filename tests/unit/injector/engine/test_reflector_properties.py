"""Whatever an API server and the network in between do: when they are well again, the copy is what is there.

The server here keeps a history as etcd does, which may be compacted at any time; lists have pages of one
version; a watch shows what came after a version, cut, repeated and mixed with nonsense. It may lose its last
changes, as one does that was restored from a backup: then only the next list tells.
"""

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from injector.core.api import TOO_LARGE, ClusterFault, ObjectKey, Page
from injector.engine.reflector import (
    CEILING,
    ListPage,
    News,
    Reflector,
    Remove,
    Replace,
    Unreadable,
    Upsert,
    Wait,
    Watch,
)
from injector.reading.objects import ObjectFault

Raw = dict[str, Any]
RESYNC = 600.0
NAMES = "abcdef"


class Server:
    def __init__(self) -> None:
        self.version = 10
        self.compacted = 10
        self.things: dict[str, Raw] = {}
        self.history: list[tuple[int, Raw]] = []
        self.lists: dict[str, tuple[int, list[Raw]]] = {}

    def write(self, name: str, spec: int | None) -> None:
        """None: it is deleted."""
        self.version += 1
        if spec is None:
            gone = self.things.pop(name, None)
            if gone is None:
                return
            raw, what = {**gone, "metadata": {"name": name, "resourceVersion": str(self.version)}}, "DELETED"
        else:
            what = "MODIFIED" if name in self.things else "ADDED"
            raw = {"metadata": {"name": name, "resourceVersion": str(self.version)}, "spec": spec}
            self.things[name] = raw
        self.history.append((self.version, {"type": what, "object": raw}))

    def page(self, token: str, limit: int) -> Page:
        if token:
            if token not in self.lists:
                raise ClusterFault(410, "Expired", "the page is forgotten")
            version, rest = self.lists.pop(token)
        else:
            version, rest = self.version, [self.things[name] for name in sorted(self.things)]
        now, later = rest[:limit], rest[limit:]
        following = f"{version}-{len(later)}" if later else ""
        if later:
            self.lists[following] = (version, later)
        return Page(now, following, str(version))

    def events(self, version: str) -> list[Raw]:
        if int(version) < self.compacted:
            raise ClusterFault(410, "Gone", "too old resource version")
        return [event for at, event in self.history if at > int(version)]


def read(raw: Any) -> int:
    if raw["spec"] == 7:
        raise ObjectFault("seven cannot be read")
    return int(raw["spec"])


class Copy:
    def __init__(self) -> None:
        self.values: dict[ObjectKey, int] = {}

    def apply(self, news: list[News[int]]) -> None:
        for one in news:
            match one:
                case Replace(values):
                    self.values = dict(values)
                case Upsert(key, value):
                    self.values[key] = value
                case Remove(key):
                    self.values.pop(key, None)
                case Unreadable():
                    pass


FAULTS = (
    ClusterFault(500, "InternalError", ""),
    ClusterFault(429, "TooManyRequests", "", 5.0),
    ClusterFault(410, "Expired", ""),
    ClusterFault(404, "NotFound", ""),
    ClusterFault(401, "Unauthorized", ""),
    ClusterFault(None, TOO_LARGE, ""),
    ClusterFault(None, "TimedOut", ""),
)
NONSENSE = (
    {"type": "ERROR", "object": {"code": 410, "reason": "Expired"}},
    {"type": "ERROR", "object": {"code": 500}},
    {"type": "BOOKMARK", "object": {}},
    {"type": "ADDED", "object": {"kind": "Status"}},
    {"type": "ODD", "object": {}},
    {},
)


def script_of(seed: int) -> list[tuple[str, Any]]:
    """Long ones, in which what a fault needs to do harm comes together by chance."""
    dice = Random(seed)
    script: list[tuple[str, Any]] = []
    for _ in range(300):
        what = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        match what:
            case "write":
                script.append((what, (dice.choice(NAMES), dice.choice([None, *range(9)]))))
            case "fault":
                script.append((what, dice.choice(FAULTS)))
            case "nonsense":
                script.append((what, dice.choice(NONSENSE)))
            case "later":
                script.append((what, dice.random() * 700))
            case _:
                script.append((what, dice.randrange(4)))
    return script


WEIGHTS = {
    "write": 12, "go": 12, "cut": 4, "fault": 4, "nonsense": 2, "again": 2, "compact": 3, "restore": 1,
    "later": 1,
}  # fmt: skip


@given(st.integers(0, 1 << 32), st.integers(1, 4), st.floats(0, 0.999))
@settings(max_examples=60)
def test_after_any_faults_the_copy_is_what_the_server_has(seed: int, page: int, dice: float) -> None:
    """Without any list but those that the reflector finds necessary."""
    script = script_of(seed)
    # The end is where it must hold, so it is looked at after parts of it, too.
    for length in (20, 60, 300):
        play([move for move in script[:length] if move[0] != "restore"], page, dice, resync=1e12)


@given(st.integers(0, 1 << 32), st.integers(1, 4), st.floats(0, 0.999))
@settings(max_examples=30)
def test_a_server_that_lost_its_last_changes_is_followed_with_the_next_list(
    seed: int, page: int, dice: float
) -> None:
    play(script_of(seed), page, dice, resync=RESYNC)


def play(script: list[tuple[str, Any]], page: int, dice: float, resync: float) -> None:  # noqa: PLR0915 - a world
    server, copy, now, watched = Server(), Copy(), 0.0, False
    reflector: Reflector[int] = Reflector("Thing", read, resync_seconds=resync, page=page)

    def step(trouble: tuple[str, Any] = ("go", None)) -> None:
        nonlocal now
        todo = reflector.next(now)
        if isinstance(todo, Wait):
            assert 0 < todo.seconds <= 2 * CEILING
            now += todo.seconds
            return
        what, how = trouble
        try:
            if what == "fault":
                raise how
            if isinstance(todo, ListPage):
                outcome = reflector.listed(server.page(todo.continue_token, todo.limit), now, dice)
                assert isinstance(outcome, list)
                copy.apply(outcome)
                return
            follow(todo, what, how)
        except ClusterFault as fault:
            reflector.failed(fault, now, dice)

    def follow(todo: Watch, what: str, how: Any) -> None:
        nonlocal now, watched
        events = server.events(todo.resource_version)
        if what == "nonsense":
            # In the place of an event, where there is one: it may have been a change.
            at = len(events) // 2
            events[at : at + 1] = [how]
        if what == "again":
            events += [old for _, old in server.history[: how + 1]]
        for event in events[:how] if what == "cut" else events:
            outcome = reflector.happened(event, now, dice)
            if isinstance(outcome, ClusterFault):
                return
            copy.apply(outcome)
        if what == "cut":
            raise ClusterFault(None, "Unreachable", "the connection is gone")
        now += todo.seconds
        reflector.ended(now, dice)
        watched = True

    for what, how in script:
        match what:
            case "write":
                server.write(*how)
            case "compact":
                server.compacted, server.lists = server.version, {}
            case "restore":
                restored = Server()
                for at, event in server.history[: len(server.history) // 2]:
                    restored.version = at
                    restored.history.append((at, event))
                    name = event["object"]["metadata"]["name"]
                    restored.things.pop(name, None)
                    if event["type"] != "DELETED":
                        restored.things[name] = event["object"]
                server = restored
            case "later":
                now += how
            case _:
                step((what, how))
    # All is well again: until a watch has shown all, and there was a list where one is due in time.
    end = now + (resync * 1.1 + 4 * CEILING if resync == RESYNC else 0)
    watched = False
    turns = 0
    while now < end or not watched:
        step()
        turns += 1
        assert turns < 500, "it comes to rest"
    readable = {ObjectKey("", name): raw["spec"] for name, raw in server.things.items() if raw["spec"] != 7}
    assert copy.values == readable
