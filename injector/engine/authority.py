"""The webhooks' own certificate authority, as a state machine over the data of one Secret.

`advance` is called by the leader with what it has just read, and says the one thing to do next. The leader
reads **the webhook configurations first and the Secret after them**, and each write is conditional: on the
version of the Secret that it read (or on there being none), or on the versions of the configurations. Then it
reads again. So a leader that was deposed without noticing writes nothing that is older than what is there.

A new authority stands beside the old one as `next`: published, read back, and only after `OVERLAP` the one
that signs. The old one stays trusted for `RETIREMENT`, when no leaf of it can be valid any more.

What holds at every moment, from the publication of a cluster's first authority on:

    Each leaf that a replica serves, until it expires, verifies against every bundle that the webhook
    configurations held within the last SETTLING and that has a valid authority at all: API servers may hear
    of a bundle that late.

It holds while nobody else writes the bundle, while replicas sign as `leaf.py` says, and while the clocks of
leaders and replicas are within CLOCK_SKEW of the API servers'. A clock that is set back, a Secret that is
lost or damaged, a leader or a replica that sleeps for days do not break it. A leader whose clock jumps ahead
cuts the overlap short by as much. After somebody else emptied the bundle it holds again SETTLING after the
leader's next look. Where all authorities have ended everything begins anew.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from proxy.core.structs import Struct, hiding, replace
from proxy.x509.certificates import (
    CLOCK_SKEW,
    Certificate,
    PrivateKey,
    certificate_pem,
    common_name,
    has_key,
    is_signed_by_itself,
    key_pem,
    read_certificates,
    read_key,
    sign_authority,
)

# A third of a year is left when it is replaced: no leader is away that long.
AUTHORITY_LIFETIME: Final = timedelta(days=365)
# How late an API server may hear of a changed configuration: it takes seconds.
SETTLING: Final = timedelta(minutes=1)
# An hour outlasts an API server that restarts.
OVERLAP: Final = timedelta(hours=1)
# The same where nobody can sign meanwhile, and new replicas wait. The clocks of two leaders may differ.
SHORT_OVERLAP: Final = SETTLING + CLOCK_SKEW
# A stolen key of a replica is of use for a week.
LEAF_LIFETIME: Final = timedelta(days=7)
# A replica that has not seen the Secret for so long signs nothing.
MAX_STALENESS: Final = timedelta(hours=1)
# From when an authority signs no more, until no leaf of it is valid.
RETIREMENT: Final = LEAF_LIFETIME + MAX_STALENESS + CLOCK_SKEW

# How authorities of ours are called, so that they are known in a bundle.
NAME_PREFIX: Final = "podkey injector CA "
# More than one is only there after an accident, and each has some 700 bytes in the bundle.
MAX_PREVIOUS: Final = 8

# Keys of the Secret.
CURRENT: Final = "ca"
NEXT: Final = "next"
TRUSTED_SINCE: Final = "next.trusted-since"
PREVIOUS: Final = "previous.crt"
REPLACED_AT: Final = "previous.replaced-at"


class Authority(Struct, frozen=True):
    certificate: Certificate
    key: PrivateKey

    __repr__ = hiding("key")

    @property
    def begins(self) -> datetime:
        return self.certificate.not_valid_before_utc

    @property
    def ends(self) -> datetime:
        return self.certificate.not_valid_after_utc

    def is_usable(self, now: datetime) -> bool:
        return self.begins <= now < self.ends

    @property
    def due(self) -> datetime:
        """When two thirds of its life are over."""
        return self.begins + (self.ends - self.begins) * 2 / 3


class AuthorityState(Struct, frozen=True):
    """What the Secret says. `current` signs; all of them are trusted."""

    current: Authority | None = None
    next: Authority | None = None
    # Since when `next` is known to stand in the bundle of every webhook.
    trusted_since: datetime | None = None
    previous: tuple[Certificate, ...] = ()
    replaced_at: datetime | None = None
    # Which keys of the Secret were there and could not be used.
    damaged: tuple[str, ...] = ()

    @property
    def trusted(self) -> tuple[Certificate, ...]:
        """First those of which leaves are most likely served. Where the Secret is lost again and again, the
        last ones are given up, which never signed."""
        current = [self.current.certificate] if self.current is not None else []
        following = [self.next.certificate] if self.next is not None else []
        return tuple(dict.fromkeys((*current, *self.previous, *following)))


class Store(Struct, frozen=True):
    """Write the Secret as a whole, on the condition that it is still as it was read."""

    data: Mapping[str, bytes]
    # For the log.
    why: str

    __repr__ = hiding("data")


class Publish(Struct, frozen=True):
    """Write the bundle into every webhook, on the condition that the configurations are as they were read."""

    bundle: bytes


class Rest(Struct, frozen=True):
    """Nothing is to be done before that time, unless somebody else changes something."""

    until: datetime


Step = Store | Publish | Rest
DrawKey = Callable[[], PrivateKey]


def bundle(state: AuthorityState, now: datetime) -> bytes:
    """The `caBundle` of every webhook."""
    return b"".join(map(certificate_pem, _wanted(state, now)))


def _wanted(state: AuthorityState, now: datetime) -> tuple[Certificate, ...]:
    gone = state.previous if _is_retired(state, now) else ()
    return tuple(one for one in state.trusted if one not in gone)


def _is_retired(state: AuthorityState, now: datetime) -> bool:
    return state.replaced_at is not None and now >= state.replaced_at + RETIREMENT


def signer(state: AuthorityState, now: datetime) -> Authority | None:
    """With what a replica signs its leaf; None: it goes on with the one it has."""
    return state.current if state.current is not None and state.current.is_usable(now) else None


# --- the next step --------------------------------------------------------------------------------


def advance(
    data: Mapping[str, bytes] | None, published: Sequence[bytes], now: datetime, draw: DrawKey
) -> Step:
    """`data` is the Secret's (None: there is none), `published` the `caBundle` of each webhook."""
    state = read_state(data or {})
    bundles = [tuple(read_certificates(one)[0]) for one in published]
    strangers = tuple(
        one
        for one in dict.fromkeys(one for found in bundles for one in found)
        if one not in state.trusted and one.not_valid_after_utc > now and _is_ours(one)
    )
    return (
        _replacement(state, strangers, now, draw)
        or _adoption(state, strangers, now)
        or _publication(state, bundles, now)
        or _promotion(state, now)
        or _farewell(state, now)
        or Rest(_next_look(state, now))
    )


def _replacement(
    state: AuthorityState, strangers: tuple[Certificate, ...], now: datetime, draw: DrawKey
) -> Step | None:
    """An authority that signs, and in time another one."""
    current, following = state.current, state.next
    signs = current is not None and current.is_usable(now)
    follows = following is not None and following.is_usable(now)
    if not signs and not follows:
        trusted = tuple(one for one in (*state.trusted, *strangers) if one.not_valid_after_utc > now)
        fresh = _drawn(now, draw)
        if not trusted:
            return _store(AuthorityState(current=fresh), "there was no authority")
        # Leaves of the lost one are served: it stays trusted, and the new one has to be trusted first.
        lost = AuthorityState(
            next=fresh, previous=trusted[:MAX_PREVIOUS], replaced_at=now, damaged=state.damaged
        )
        return _store(lost, "the authority was lost")
    if following is not None and not follows:
        again = replace(state, next=_drawn(now, draw), trusted_since=None)
        return _store(again, "the next authority was of no use")
    if current is not None and following is None and now >= current.due:
        return _store(replace(state, next=_drawn(now, draw), trusted_since=None), "the authority is due")
    return None


def _adoption(state: AuthorityState, strangers: tuple[Certificate, ...], now: datetime) -> Step | None:
    """What is ours and trusted and not in the Secret was lost from it: leaves of it may be served."""
    previous = (*state.previous, *strangers)[:MAX_PREVIOUS]
    if previous != state.previous:
        adopted = replace(state, previous=previous, replaced_at=now)
        return _store(adopted, "the Secret did not know all authorities that are trusted")
    return _store(state, "the Secret was damaged") if state.damaged else None


def _publication(
    state: AuthorityState, bundles: Sequence[tuple[Certificate, ...]], now: datetime
) -> Step | None:
    # In their order, too: by it those are kept that count, where the Secret is lost.
    wanted = _wanted(state, now)
    if all(found == wanted for found in bundles):
        return None
    following, since = state.next, state.trusted_since
    if following is not None and since is not None and not all(following.certificate in b for b in bundles):
        # Somebody else took it away: its overlap begins anew.
        return _store(replace(state, trusted_since=None), "the next authority was not trusted any more")
    return Publish(bundle(state, now))


def _promotion(state: AuthorityState, now: datetime) -> Step | None:
    """All webhooks have the bundle: from now on the overlap counts, and at its end the next one signs."""
    if state.next is None:
        return None
    if state.trusted_since is None or state.trusted_since > now:
        # For the first time; or the clock was set back.
        return _store(replace(state, trusted_since=now), "the next authority is trusted")
    if now < state.trusted_since + _overlap(state, now):
        return None
    promoted = AuthorityState(
        current=state.next,
        previous=tuple(one for one in state.trusted if one != state.next.certificate)[:MAX_PREVIOUS],
        replaced_at=now,
    )
    return _store(promoted, "the next authority signs")


def _overlap(state: AuthorityState, now: datetime) -> timedelta:
    return OVERLAP if signer(state, now) is not None else SHORT_OVERLAP


def _farewell(state: AuthorityState, now: datetime) -> Step | None:
    if not state.previous:
        return None
    if state.replaced_at is None or state.replaced_at > now:
        return _store(replace(state, replaced_at=now), "since when the authority signs was not known")
    if _is_retired(state, now):
        return _store(replace(state, previous=(), replaced_at=None), "no leaf of the previous one is left")
    return None


def _next_look(state: AuthorityState, now: datetime) -> datetime:
    times = (
        None if state.trusted_since is None else state.trusted_since + _overlap(state, now),
        None if state.current is None else state.current.due,
        None if state.replaced_at is None else state.replaced_at + RETIREMENT,
    )
    return min((time for time in times if time is not None and time > now), default=now + OVERLAP)


def _drawn(now: datetime, draw: DrawKey) -> Authority:
    key = draw()
    begins = now.replace(microsecond=0) - CLOCK_SKEW  # certificates count in seconds
    name = f"{NAME_PREFIX}{now:%Y-%m-%d}"
    return Authority(sign_authority(name, key, begins=begins, ends=begins + AUTHORITY_LIFETIME), key)


def _is_ours(certificate: Certificate) -> bool:
    return common_name(certificate).startswith(NAME_PREFIX)


# --- the Secret -----------------------------------------------------------------------------------


def read_state(data: Mapping[str, bytes]) -> AuthorityState:
    """Whatever it holds. What cannot be used is left out, and named; a certificate without its key is still
    trusted, because leaves of it may be served."""
    damaged: list[str] = []
    orphans: list[Certificate] = []

    def authority(name: str) -> Authority | None:
        certificate, key = data.get(f"{name}.crt"), data.get(f"{name}.key")
        if certificate is None and key is None:
            return None
        found = [one for one in read_certificates(certificate or b"")[0] if is_signed_by_itself(one)]
        secret = read_key(key or b"")
        if len(found) == 1 and secret is not None and has_key(found[0], secret):
            return Authority(found[0], secret)
        damaged.append(name)
        orphans.extend(one for one in found if _is_ours(one))
        return None

    def moment(name: str) -> datetime | None:
        if name not in data:
            return None
        try:
            return datetime.fromisoformat(data[name].decode("ascii")).astimezone(UTC)
        except (ValueError, OverflowError):
            damaged.append(name)
            return None

    current, following = authority(CURRENT), authority(NEXT)
    found, strange = read_certificates(data.get(PREVIOUS, b""))
    if strange:
        damaged.append(PREVIOUS)
    previous = dict.fromkeys([*orphans, *(one for one in found if is_signed_by_itself(one))])
    return AuthorityState(
        current=current,
        next=following,
        trusted_since=moment(TRUSTED_SINCE),
        previous=tuple(previous)[:MAX_PREVIOUS],
        replaced_at=moment(REPLACED_AT),
        damaged=tuple(damaged),
    )


def _store(state: AuthorityState, why: str) -> Store:
    if state.damaged:
        why = f"{why}; of the Secret could not be read: {', '.join(state.damaged)}"
    return Store(dict(_written(state)), why)


def _written(state: AuthorityState) -> Iterable[tuple[str, bytes]]:
    for name, authority in ((CURRENT, state.current), (NEXT, state.next)):
        if authority is not None:
            yield f"{name}.crt", certificate_pem(authority.certificate)
            yield f"{name}.key", key_pem(authority.key)
    if state.previous:
        yield PREVIOUS, b"".join(map(certificate_pem, state.previous))
    for name, moment in ((TRUSTED_SINCE, state.trusted_since), (REPLACED_AT, state.replaced_at)):
        if moment is not None:
            yield name, moment.isoformat().encode()
