"""The webhooks' own certificate authority, as a state machine over the data of one Secret.

`advance` is called by the leader with what it has just read, and says the one thing to do next. The leader
reads **the webhook configurations first and the Secret after them**, and each write is conditional: on the
version of the Secret that it read (or on there being none), or on the versions of the configurations. Then it
reads again. So a leader that was deposed without noticing writes nothing that is older than what is there.

A new authority stands beside the old one as `next`: published, read back, and only after `OVERLAP` the one
that signs. The old one stays trusted for `RETIREMENT`, when no leaf of it can be valid any more.

What holds at every moment, from the first publication on:

    Each leaf that a replica serves, until it expires, verifies against every bundle that the webhook
    configurations held within the last SETTLING: API servers may hear of a bundle that late.

It holds while nobody else writes the bundle, while replicas sign as `leaf.py` says, and while the leader's
clock does not jump ahead by OVERLAP in the middle of a rotation. A clock that is set back, a Secret that is
lost or damaged, a leader or a replica that sleeps for days do not break it. After somebody else emptied the
bundle it holds again SETTLING after the leader's next look.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

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
# An API server hears of a changed configuration in seconds; an hour outlasts one that restarts.
OVERLAP: Final = timedelta(hours=1)
# The same where nobody can sign meanwhile, so that new replicas wait.
SETTLING: Final = timedelta(minutes=1)
# A stolen key of a replica is of use for a week.
LEAF_LIFETIME: Final = timedelta(days=7)
# A replica that has not seen the Secret for so long signs nothing.
MAX_STALENESS: Final = timedelta(hours=1)
# From when an authority signs no more, until no leaf of it is valid.
RETIREMENT: Final = LEAF_LIFETIME + MAX_STALENESS + CLOCK_SKEW

# How authorities of ours are called, so that they are known in a bundle.
NAME_PREFIX: Final = "podkey injector CA "
# More than one is only there after an accident.
MAX_PREVIOUS: Final = 4

# Keys of the Secret.
CURRENT: Final = "ca"
NEXT: Final = "next"
TRUSTED_SINCE: Final = "next.trusted-since"
PREVIOUS: Final = "previous.crt"
REPLACED_AT: Final = "previous.replaced-at"


@dataclass(frozen=True, slots=True)
class Authority:
    certificate: Certificate
    key: PrivateKey = field(repr=False)

    @property
    def begins(self) -> datetime:
        return self.certificate.not_valid_before_utc

    @property
    def ends(self) -> datetime:
        return self.certificate.not_valid_after_utc

    def is_usable(self, now: datetime) -> bool:
        return self.begins <= now < self.ends

    def is_due(self, now: datetime) -> bool:
        """Whether two thirds of its life are over."""
        return now >= self.begins + (self.ends - self.begins) * 2 / 3


@dataclass(frozen=True, slots=True)
class AuthorityState:
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
        own = (authority.certificate for authority in (self.current, self.next) if authority is not None)
        return tuple(dict.fromkeys((*own, *self.previous)))


@dataclass(frozen=True, slots=True)
class Store:
    """Write the Secret as a whole, on the condition that it is still as it was read."""

    data: Mapping[str, bytes] = field(repr=False)
    # For the log.
    why: str


@dataclass(frozen=True, slots=True)
class Publish:
    """Write the bundle into every webhook, on the condition that the configurations are as they were read."""

    bundle: bytes


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing is to be done before that time, unless somebody else changes something."""

    until: datetime


Step = Store | Publish | Rest
DrawKey = Callable[[], PrivateKey]


def bundle(state: AuthorityState) -> bytes:
    """The `caBundle` of every webhook."""
    return b"".join(map(certificate_pem, state.trusted))


def signer(state: AuthorityState, now: datetime) -> Authority | None:
    """With what a replica signs its leaf; None: it goes on with the one it has."""
    return state.current if state.current is not None and state.current.is_usable(now) else None


# --- the next step --------------------------------------------------------------------------------


def advance(
    data: Mapping[str, bytes] | None, published: Sequence[bytes], now: datetime, draw: DrawKey
) -> Step:
    """`data` is the Secret's (None: there is none), `published` the `caBundle` of each webhook."""
    state = read_state(data or {})
    bundles = [frozenset(read_certificates(one)[0]) for one in published]
    return (
        _replacement(state, bundles, now, draw)
        or _publication(state, bundles)
        or _promotion(state, now)
        or _farewell(state, now)
        or Rest(_next_look(state, now))
    )


def _replacement(
    state: AuthorityState, bundles: Sequence[frozenset[Certificate]], now: datetime, draw: DrawKey
) -> Step | None:
    """An authority that signs, and in time another one."""
    current, following = state.current, state.next
    signs = current is not None and current.is_usable(now)
    follows = following is not None and following.is_usable(now)
    if not signs and not follows:
        known = (*state.trusted, *(one for found in bundles for one in found if _is_ours(one)))
        trusted = tuple(one for one in dict.fromkeys(known) if one.not_valid_after_utc > now)[:MAX_PREVIOUS]
        fresh = _drawn(now, draw)
        if not trusted:
            return _store(AuthorityState(current=fresh), "there was no authority")
        # Leaves of the lost one are served: it stays trusted, and the new one has to be trusted first.
        lost = AuthorityState(next=fresh, previous=trusted, replaced_at=now)
        return _store(lost, "the authority was lost")
    if following is not None and not follows:
        fresh_state = replace(state, next=_drawn(now, draw), trusted_since=None)
        return _store(fresh_state, "the next authority was of no use")
    if current is not None and following is None and current.is_due(now):
        return _store(replace(state, next=_drawn(now, draw), trusted_since=None), "the authority is due")
    if following is not None and state.trusted_since is not None:
        everywhere = all(following.certificate in found for found in bundles)
        if state.trusted_since > now or not everywhere:
            why = "the next authority was not trusted any more, or the clock was set back"
            return _store(replace(state, trusted_since=None), why)
    return None


def _publication(state: AuthorityState, bundles: Sequence[frozenset[Certificate]]) -> Step | None:
    wanted = frozenset(state.trusted)
    return Publish(bundle(state)) if any(found != wanted for found in bundles) else None


def _promotion(state: AuthorityState, now: datetime) -> Step | None:
    """All webhooks have the bundle: from now on the overlap counts, and at its end the next one signs."""
    if state.next is None:
        return None
    if state.trusted_since is None:
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
    return OVERLAP if signer(state, now) is not None else SETTLING


def _farewell(state: AuthorityState, now: datetime) -> Step | None:
    if not state.previous:
        return None
    if state.replaced_at is None or state.replaced_at > now:
        return _store(replace(state, replaced_at=now), "since when the authority signs was not known")
    if now < state.replaced_at + RETIREMENT:
        return None
    return _store(replace(state, previous=(), replaced_at=None), "no leaf of the previous authority is left")


def _next_look(state: AuthorityState, now: datetime) -> datetime:
    times = []
    if state.next is not None and state.trusted_since is not None:
        times.append(state.trusted_since + _overlap(state, now))
    elif state.current is not None:
        life = state.current.ends - state.current.begins
        times.append(state.current.begins + life * 2 / 3)
    if state.previous and state.replaced_at is not None:
        times.append(state.replaced_at + RETIREMENT)
    return min(times, default=now + SETTLING)


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
