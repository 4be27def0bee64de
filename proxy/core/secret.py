"""A secret is a type: it has no text, it compares in constant time, and `reveal` is the one way out."""

from collections.abc import Callable
from hmac import compare_digest
from typing import Any, Final, NoReturn, final

_MASK: Final = "Secret(…)"


@final
class Secret:
    """Bytes that must not appear in a log, a message, a metric, a record or a pickle.

    `str()` and f-strings raise, so that a slip fails in a test instead of leaking in production; `repr` does
    not, because tracebacks and debuggers call it on everything.
    """

    # Weak references: what was derived from a secret goes when the secret goes.
    __slots__ = ("__weakref__", "_derived", "_overwritten", "_value")

    def __init__(self, value: bytes) -> None:
        # In an array of our own, which can be overwritten: Python's bytes cannot.
        self._value = bytearray(value)
        self._overwritten = False
        self._derived: dict[object, Any] | None = None

    def reveal(self) -> bytes:
        """The bytes themselves. Whoever calls this answers for where they go."""
        if self._overwritten:
            raise ValueError("the secret was overwritten; nobody should hold it any more")
        return bytes(self._value)

    def derive[T](self, purpose: object, make: Callable[[], T]) -> T:
        """What every request makes of the value, made once. It is kept here and nowhere else, so that it goes
        when the value does."""
        derived = self._derived
        if derived is None:
            if self._overwritten:
                return make()
            derived = self._derived = {}
        found: T | None = derived.get(purpose)
        if found is None:
            found = derived[purpose] = make()
        return found

    def overwrite(self) -> None:
        """For whoever knows that nobody needs it. Copies that were revealed are out of reach: this shortens
        the time in which a dump of our memory would hold the value, and promises no more."""
        self._value[:] = bytes(len(self._value))
        self._overwritten = True
        self._derived = None

    def __repr__(self) -> str:
        return _MASK

    def __str__(self) -> NoReturn:
        raise TypeError("a secret has no text; what may hold it takes the Secret and calls reveal()")

    def __format__(self, spec: str) -> NoReturn:
        raise TypeError("a secret has no text; what may hold it takes the Secret and calls reveal()")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and compare_digest(self.reveal(), other.reveal())

    # No hash: a table of secrets would compare them in a time that tells.
    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return bool(self._value) and not self._overwritten

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled or copied")
