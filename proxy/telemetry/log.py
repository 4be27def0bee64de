"""What everybody who logs needs to know of the logger."""

from typing import Protocol


class Log(Protocol):
    """A structured logger: an event in words, the rest in fields."""

    def info(self, event: str, **fields: object) -> object: ...
    def warning(self, event: str, **fields: object) -> object: ...
    def error(self, event: str, **fields: object) -> object: ...
