"""A copy of one kind of object, kept as the API server has it: what to ask next, what each answer changes.

    list (page by page) ──► watch ◄──┐ ended, or failed: from the last resource version
      ▲                      │ └─────┘
      └──────────────────────┘ the version is forgotten, an event makes no sense, or it is time for a new list

The protocol is that of kubernetes.io/docs/reference/using-api/api-concepts. Nothing here asks: whoever drives
it does what `next` says and tells what came of it, with the time and the dice.

Memory: beside the keys, at most one page of raw objects at a time, and while a list is on its way a second
set of the values. A list of more than `most` objects is a failure, and not a part of the list: what was left
out could be the very policy that forbids something. The last whole copy stays.
"""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final

from injector.core.api import BAD_ANSWER, TOO_LARGE, TOO_MANY, ClusterFault, ObjectKey, Page
from injector.reading.objects import ObjectFault, read_meta
from proxy.core.structs import Struct

# client-go's own page size.
PAGE: Final = 500
# Far above what one cluster has, far below what fills our memory: 5 KiB each.
MOST: Final = 20_000
# After that long the server ends a watch and we begin another where it ended. It bounds how long a server
# that hangs, but whose kernel still answers, goes unnoticed.
WATCH_SECONDS: Final = 150.0
# A server, or a proxy in between, that ends each watch at once is asked no more often than that.
LEAST_GAP: Final = 1.0
# "Full jitter" (Brooker, "Exponential Backoff And Jitter"), up to what client-go's reflector waits.
CEILING: Final = 30.0
# API priority and fairness asks for a second or a few.
LONGEST_WISH: Final = 60.0

# What a watch that cannot go on from where it was is answered; also when the kind itself was deleted.
_START_OVER: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.GONE})


class ListPage(Struct, frozen=True):
    """Ask for the page after `continue_token`, the first where it is empty: consistent, not from a cache."""

    continue_token: str
    limit: int


class Watch(Struct, frozen=True):
    """With bookmarks, for so many seconds."""

    resource_version: str
    seconds: float


class Wait(Struct, frozen=True):
    seconds: float


Step = ListPage | Watch | Wait


class Replace[V](Struct, frozen=True):
    """All that there is: what is not in it is gone."""

    values: Mapping[ObjectKey, V]


class Upsert[V](Struct, frozen=True):
    key: ObjectKey
    value: V


class Remove(Struct, frozen=True):
    """Of what may be gone already."""

    key: ObjectKey


class Unreadable(Struct, frozen=True):
    """It is kept out of the copy."""

    key: ObjectKey | None
    message: str


type Change[V] = Replace[V] | Upsert[V] | Remove
type News[V] = Change[V] | Unreadable


def retry_after(failures: int, wished: float | None, dice: float) -> float:
    """Seconds to wait after so many failures in a row; `wished` is the server's own Retry-After."""
    return max(dice * min(CEILING, 2.0 ** min(failures - 1, 16)), min(wished or 0.0, LONGEST_WISH))


class Reflector[V]:
    """`what` is what messages call the objects; `read` makes a value of one, or raises ObjectFault."""

    def __init__(
        self,
        what: str,
        read: Callable[[object], V],
        *,
        resync_seconds: float,
        page: int = PAGE,
        most: int = MOST,
    ) -> None:
        self._what = what
        self._read = read
        self._resync_seconds = resync_seconds
        self._page = page
        self._most = most
        # How many things went wrong since one went well.
        self.failures = 0
        self._wait_until = 0.0
        self._keys: set[ObjectKey] = set()
        # None: a list is due, or on its way.
        self._version: str | None = None
        self._list_due = 0.0
        self._watched_at = 0.0
        self._heard = False
        self._forget_list()

    def _forget_list(self) -> None:
        self._limit = self._page
        self._token = ""
        self._gathered: dict[ObjectKey, V] = {}

    # --- what to ask next -------------------------------------------------------------------------

    def next(self, now: float) -> Step:
        if now < self._wait_until:
            return Wait(self._wait_until - now)
        if self._version is not None and now >= self._list_due:
            self._version = None
        if self._version is None:
            return ListPage(self._token, self._limit)
        self._watched_at, self._heard = now, False
        return Watch(self._version, min(WATCH_SECONDS, max(1.0, self._list_due - now)))

    # --- what came of it --------------------------------------------------------------------------

    def listed(self, page: Page, now: float, dice: float) -> list[News[V]] | ClusterFault:
        """One page. A fault is noted already."""
        news: list[News[V]] = []
        for raw in page.items:
            entry = self._entry(raw)
            if isinstance(entry, Unreadable):
                news.append(entry)
            else:
                self._gathered[entry[0]] = entry[1]
        if len(self._gathered) > self._most:
            return self._too_many(now, dice)
        if page.continue_token:
            self._token = page.continue_token
            return news
        whole = self._gathered
        self._keys = set(whole)
        self._version = page.resource_version
        # Spread, so that replicas and kinds do not ask all at once.
        self._list_due = now + self._resync_seconds * (0.9 + 0.2 * dice)
        self._forget_list()
        return [*news, Replace(whole)]

    def happened(self, event: object, now: float, dice: float) -> list[News[V]] | ClusterFault:
        """One event of a watch. A fault ends the watch; it is noted already."""
        match event:
            case {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(version)}}}:
                self._advance(version)
                return []
            case {"type": "BOOKMARK"}:
                return []
            case {"type": "ERROR", "object": raw}:
                fault = _told(raw, self._what)
                self.failed(fault, now, dice)
                return fault
            case {"type": "ADDED" | "MODIFIED" | "DELETED" as what, "object": raw}:
                try:
                    meta = read_meta(raw)
                except ObjectFault as unreadable:
                    return self._nonsense(f"an event is about no object: {unreadable}", now, dice)
                if self._is_old(meta.resource_version):
                    return []
                news = self._changed(what, meta.key, raw)
                self._advance(meta.resource_version)
                if len(self._keys) > self._most:
                    return self._too_many(now, dice)
                return news
            case _:
                return self._nonsense("an event is none that Kubernetes has", now, dice)

    def ended(self, now: float, dice: float) -> None:
        """The server ended the watch in peace."""
        if not self._heard and now - self._watched_at < LEAST_GAP:
            short = f"the watch of {self._what} ended as soon as it began"
            self.failed(ClusterFault(None, BAD_ANSWER, short), now, dice)
            return
        self.failures = 0
        self._wait_until = self._watched_at + LEAST_GAP

    def failed(self, fault: ClusterFault, now: float, dice: float, *, start_over: bool = False) -> None:
        """A page or a watch failed. A watch goes on where it was unless the server has forgotten that."""
        self.failures += 1
        self._wait_until = now + retry_after(self.failures, fault.retry_after, dice)
        if self._version is None and fault.reason == TOO_LARGE and self._limit > 1:
            # The same place in the list, with fewer objects at a time: one may have more than a megabyte.
            self._limit = max(1, self._limit // 4)
        elif start_over or fault.is_expired or fault.status in _START_OVER:
            self._version = None
            self._forget_list()

    # --- within -----------------------------------------------------------------------------------

    def _entry(self, raw: object) -> tuple[ObjectKey, V] | Unreadable:
        key = None
        try:
            key = read_meta(raw).key
            return key, self._read(raw)
        except ObjectFault as fault:
            return Unreadable(key, str(fault))

    def _changed(self, what: str, key: ObjectKey, raw: object) -> list[News[V]]:
        entry = None if what == "DELETED" else self._entry(raw)
        if isinstance(entry, tuple):
            self._keys.add(key)
            return [Upsert(*entry)]
        self._keys.discard(key)
        return [Remove(key)] if entry is None else [entry, Remove(key)]

    def _nonsense(self, what: str, now: float, dice: float) -> ClusterFault:
        """What cannot be understood may have been a change: only a new list tells."""
        fault = ClusterFault(None, BAD_ANSWER, f"the watch of {self._what}: {what}")
        self.failed(fault, now, dice, start_over=True)
        return fault

    def _too_many(self, now: float, dice: float) -> ClusterFault:
        what = f"there are more than {self._most} {self._what}; what was known of them stays as it is"
        fault = ClusterFault(None, TOO_MANY, what)
        self.failed(fault, now, dice, start_over=True)
        return fault

    def _advance(self, version: str) -> None:
        if version and not self._is_old(version):
            self._version, self._heard, self.failures = version, True, 0

    def _is_old(self, version: str) -> bool:
        """Whether it is in the copy already. What a list or watch of one version shows has all before it.

        Versions of one kind are numbers that grow (KEP-5504; etcd's always were); others are taken as new.
        """
        mine = self._version
        if mine is None or not (_is_number(version) and _is_number(mine)):
            return False
        return int(version) <= int(mine)


def _is_number(version: str) -> bool:
    # As many digits as 64 bits have: more would be somebody's joke.
    return version.isascii() and version.isdigit() and len(version) <= 20


def _told(raw: object, kind: str) -> ClusterFault:
    """The Status of an ERROR event."""
    code, reason = (raw.get("code"), raw.get("reason")) if isinstance(raw, dict) else (None, None)
    status = code if type(code) is int else None
    word = reason if isinstance(reason, str) and reason else BAD_ANSWER
    return ClusterFault(status, word, f"the API server ended the watch of {kind}: {status} {word[:64]}")
