"""How often a source is asked: the numbers, and why they are what they are.

The promise they add up to: within one lifetime a source is asked at most ASKS_PER_LIFETIME times, whatever it
answers, and once more each time an upstream says that a lease is worth nothing (`Grace`).
"""

from typing import Final

from proxy.core.structs import Struct

# A lease is refreshed between two thirds and five sixths of its life: early enough to outlive an outage of a
# sixth, late enough that most of it is used. The spread keeps a thousand pods of one Job from asking at once.
REFRESH_FROM: Final = 2 / 3
REFRESH_SPREAD: Final = 1 / 6
# While a lease lives nobody waits, so a source that fails is left in peace for a twentieth of its life.
LIVE_GAP: Final = 1 / 20
# From two thirds of its life to its end at most seven asks begin, each a gap after the last, and one more had
# made the lease. Where the same credential is given again with less time left, as by providers that keep what
# they issued, its life is the one it had at first, and asks keep the same gaps.
ASKS_PER_LIFETIME: Final = 8

# Without a lease requests are refused meanwhile: "full jitter" (Brooker, "Exponential Backoff And Jitter"),
# from a second to half a minute, so that whoever mends a source sees it work within that.
BASE: Final = 1.0
CEILING: Final = 30.0
# Never twice within a second, however the dice fall.
LEAST_GAP: Final = 1.0
# Files are read again every second: that is what it takes to notice that a secret was changed.
LOCAL_GAP: Final = 1.0

# What leaves us must still be good when the upstream looks at it; and `Date` counts whole seconds.
MARGIN: Final = 2.0
# A lease so young that an upstream refuses is not expired: the refusal means something else, and to fetch
# another would be repeated with every such request. Doubled each time, up to an hour, until one was good for
# much longer: whose source does not say when it ends may end every ten minutes. An application that provokes
# refusals to wear a source out gets a lease in four minutes this way, whatever its rhythm.
FIRST_GRACE: Final = 30.0
LAST_GRACE: Final = 3600.0
FORGIVEN_AFTER: Final = 8.0


class Retry(Struct, frozen=True):
    """Seconds until a source that failed may be asked again: while a lease lives, and without one."""

    live: float
    dead: float


def refresh_after(left: float, longest: float, dice: float) -> float:
    """From when it came. `longest` is what the same credential had left at first; `dice` is in [0, 1)."""
    ahead = left * (REFRESH_FROM + REFRESH_SPREAD * dice)
    return max(ahead, longest * LIVE_GAP, LEAST_GAP)


def retry_after(failures: int, lifetime: float, wished: float | None, dice: float) -> Retry:
    """After so many failures in a row. `wished` is the source's own `Retry-After`: a floor, no shortcut."""
    ceiling = min(CEILING, BASE * 2.0 ** min(failures, 16))
    drawn = max(dice * ceiling, LEAST_GAP, wished or 0.0)
    return Retry(live=max(drawn, lifetime * LIVE_GAP), dead=drawn)
