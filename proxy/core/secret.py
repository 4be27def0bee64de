"""A secret is a type: it has no text, it compares in constant time, and `reveal` is the one way out."""

from hmac import compare_digest
from typing import Final, NoReturn, final

_MASK: Final = "Secret(…)"


@final
class Secret:
    """Bytes that must not appear in a log, a message, a metric, a record or a pickle.

    `str()` and f-strings raise, so that a slip fails in a test instead of leaking in production; `repr` does
    not, because tracebacks and debuggers call it on everything.
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """The bytes themselves. Whoever calls this answers for where they go."""
        return self._value

    def __repr__(self) -> str:
        return _MASK

    def __str__(self) -> NoReturn:
        raise TypeError("a secret has no text; what may hold it takes the Secret and calls reveal()")

    def __format__(self, spec: str) -> NoReturn:
        raise TypeError("a secret has no text; what may hold it takes the Secret and calls reveal()")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and compare_digest(self._value, other._value)

    # No hash: a table of secrets would compare them in a time that tells.
    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled or copied")
