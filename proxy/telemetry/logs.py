"""Structured logs on standard output. The doorman of `structlog`, and the end of the standard `logging`.

Whatever is logged goes through `presentable` first, so that a slip elsewhere does no harm: secrets and
unknown objects have no text, queries and user names are cut from URLs, and of an exception only its type and
the place in our code are told, for its text may quote what was on the wire.
"""

import json
import logging
import re
import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from math import isfinite
from pathlib import Path, PurePath
from traceback import extract_tb
from types import TracebackType
from typing import Any, Final, cast

import structlog

import proxy
from proxy.core.secret import Secret
from proxy.core.settings import LogFormat, LogLevel
from proxy.documents.problems import Problem
from proxy.documents.setting_values import SettingProblem
from proxy.telemetry.log import Log

# containerd and CRI-O cut the lines of a container at 16 KiB, and what is cut is no JSON any more.
MAX_LINE: Final = 16_384
MAX_VALUE: Final = 2048
MAX_ITEMS: Final = 32
MAX_DEPTH: Final = 4

_LEVELS: Final = {
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.INFO: logging.INFO,
    LogLevel.WARNING: logging.WARNING,
    LogLevel.ERROR: logging.ERROR,
}
# Their text is made for people, from names and numbers.
_TELLING: Final = (PurePath, IPv4Address, IPv6Address, Problem, SettingProblem)
# By its folder: mitmproxy has a package `proxy`, too.
_ROOT: Final = f"{Path(proxy.__file__).parents[1]}/"
_OURS: Final = tuple(f"{_ROOT}{program}/" for program in ("proxy", "injector"))
_TARGETS: Final = frozenset({"path", "target", "url", "uri", "location", "referer"})
# The schemes that IANA lists have fewer letters than that; without a bound a long word takes quadratic time.
_USER_INFO = re.compile(r"(?<=://)[^/\s]*@").sub
_QUERY = re.compile(r"((?:[A-Za-z][A-Za-z0-9+.-]{0,40}:/|(?<!\S))/[^\s?#]*)[?#]\S*").sub

Fields = MutableMapping[str, Any]


def configure_logs(
    log_format: LogFormat, level: LogLevel, write: Callable[[bytes], None], now: Callable[[], datetime]
) -> Log:
    """The logger of the process. Also takes what libraries log, and what nobody caught."""
    render = _json_line if log_format is LogFormat.JSON else _console_line

    def finish(_: object, name: str, fields: Fields) -> str:
        try:
            return render(_ordered(now(), name, fields))
        except Exception as error:  # noqa: BLE001 - a log line ends no request
            return render(
                _ordered(now(), "error", {"event": "a log line could not be written", "error": error})
            )

    logger = structlog.wrap_logger(
        _Lines(write),
        processors=[_without_traceback, finish],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        cache_logger_on_first_use=True,
    )
    log = cast("Log", logger)
    _take_over_logging(log)
    return log


class _Lines:
    """What structlog calls a logger: takes finished lines."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write

    def info(self, line: str) -> None:
        self._write(line.encode() + b"\n")

    debug = warning = error = critical = exception = info


# --- fields ---------------------------------------------------------------------------------------


def presentable(value: object, name: str = "", depth: int = 0) -> object:
    """The value as JSON can hold it and anybody may see it."""
    if type(value) is str:  # nearly every value is; the rest is looked at one kind after the other
        return _text(value, name)
    match value:
        case Secret():
            return "(secret)"
        case None | bool() | int():
            return value
        case float():
            return value if isfinite(value) else str(value)  # JSON has no other numbers
        case str():
            return _text(value, name)
        case Enum():
            return presentable(value.value, name, depth)
        case bytes() | bytearray() | memoryview():
            return f"({len(value)} bytes)"
        case datetime():
            return value.isoformat()
        case BaseException():
            return _fault(value)
        case _ if isinstance(value, _TELLING):
            return _text(str(value), name)
        case _ if depth >= MAX_DEPTH:
            return "…"
        case Mapping():
            pairs = list(value.items())[:MAX_ITEMS]
            return {_text(str(key), ""): presentable(item, str(key), depth + 1) for key, item in pairs}
        case Sequence() | set() | frozenset():
            return [presentable(item, name, depth + 1) for item in list(value)[:MAX_ITEMS]]
        case _:
            return f"({type(value).__name__})"


def _text(text: str, name: str) -> str:
    if "/" in text:
        text = _QUERY(r"\1?…", _USER_INFO("", text))
    if name in _TARGETS:
        text = re.sub(r"[?#].*", "?…", text, count=1, flags=re.DOTALL)
    if not text.isprintable():  # a terminal obeys some, and a line break would begin another line
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"


def _fault(error: BaseException) -> str:
    place = place_of(error)
    return f"{type(error).__name__} at {place}" if place else type(error).__name__


def place_of(error: BaseException) -> str:
    """The innermost line of ours that it went through, else the innermost of all."""
    frames = [(frame.filename, frame.lineno) for frame in extract_tb(error.__traceback__)]
    for filename, line in reversed(frames):
        if filename.startswith(_OURS):
            return f"{filename.removeprefix(_ROOT)}:{line}"
    return f"{frames[-1][0].rpartition('/')[2]}:{frames[-1][1]}" if frames else ""


def _without_traceback(_: object, __: str, fields: Fields) -> Fields:
    """`exc_info`, which would bring text and local lines along, becomes a type and a place."""
    info = fields.pop("exc_info", None)
    fields.pop("stack_info", None)
    error = sys.exc_info()[1] if info is True else info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        fields["error"], fields["place"] = type(error).__name__, place_of(error)
    return fields


def _ordered(now: datetime, level: str, fields: Fields) -> dict[str, object]:
    head = {
        "time": now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": "error" if level in {"exception", "critical"} else level,
        "event": presentable(fields.pop("event", "")),
    }
    rest = {f"{name}_" if name in head else name: presentable(value, name) for name, value in fields.items()}
    return {**head, **rest}


# `json.dumps` makes one for each line. What `presentable` has made holds no circles.
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False)


def _json_line(fields: Mapping[str, object]) -> str:
    line = _ENCODER.encode(fields)
    if len(line) < MAX_LINE:
        return line
    kept = {name: fields[name] for name in ("time", "level", "event")}
    return _ENCODER.encode({**kept, "truncated": True})


def _console_line(fields: Mapping[str, object]) -> str:
    time, level, event, *rest = fields.items()
    words = [f"{time[1]} {str(level[1]).upper():<7} {event[1]}"]
    words += [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in rest]
    return "  ".join(words)[: MAX_LINE // 4]  # in bytes, with up to four for a character


# --- the rest of the process ----------------------------------------------------------------------


class _Bridge(logging.Handler):
    """What libraries log, from WARNING on. Their texts quote hosts, headers and exceptions, so only what is
    certainly constant is kept: a text that has arguments, without them; the first words of asyncio's."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        event = "a library logged something"
        if record.args:
            event = str(record.msg)
        elif record.name == "asyncio" and (words := _WORDS(str(record.msg))):
            event = words[0].strip()
        tell = self._log.error if record.levelno >= logging.ERROR else self._log.warning
        error = {"error": record.exc_info[1]} if record.exc_info else {}
        tell(event, logger=record.name, place=f"{record.module}:{record.lineno}", **error)


_WORDS = re.compile(r"[A-Za-z ]+").match


def _take_over_logging(log: Log) -> None:
    logging.basicConfig(handlers=[_Bridge(log)], level=logging.WARNING, force=True)
    logging.raiseExceptions = False  # it would print the text to standard error

    def uncaught(_: object, error: BaseException, __: TracebackType | None) -> None:
        log.error("uncaught exception", error=error)

    sys.excepthook = uncaught
    threading.excepthook = lambda args: log.error("uncaught exception in a thread", error=args.exc_value)
    sys.unraisablehook = lambda args: log.error("exception that nobody could catch", error=args.exc_value)
