import asyncio
import json
import logging
import secrets
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.hosts import parse_hostname
from proxy.core.secret import Secret
from proxy.core.settings import LogFormat, LogLevel
from proxy.documents.problems import Problem
from proxy.documents.setting_values import SettingProblem
from proxy.telemetry.logs import (
    MAX_DEPTH,
    MAX_ITEMS,
    MAX_LINE,
    MAX_VALUE,
    configure_logs,
    place_of,
    presentable,
)

if TYPE_CHECKING:
    from proxy.telemetry.log import Log

NOON = datetime(2026, 1, 1, 13, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=1)))
CANARY = secrets.token_urlsafe(24)


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """What configure_logs takes over is given back."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.raiseExceptions
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    yield
    root.handlers[:], level, logging.raiseExceptions = before
    root.setLevel(level)
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks


class Output:
    def __init__(self, log_format: LogFormat = LogFormat.JSON, level: LogLevel = LogLevel.INFO) -> None:
        self.lines: list[bytes] = []
        self.log: Log = configure_logs(log_format, level, self.lines.append, lambda: NOON)

    @property
    def text(self) -> str:
        return b"".join(self.lines).decode()

    @property
    def fields(self) -> dict[str, Any]:
        [line] = self.lines
        return dict(json.loads(line))


class Unprintable:
    def __str__(self) -> str:
        raise ValueError(CANARY)


def fault_of(act: Callable[[], object]) -> BaseException:
    """What the act raises, with its traceback."""
    try:
        act()
    except Exception as error:  # noqa: BLE001 - whatever it is
        return error
    raise AssertionError("nothing was raised")


# --- lines ----------------------------------------------------------------------------------------


def test_a_line_is_json_with_time_level_and_event_first() -> None:
    output = Output()
    output.log.info("policy applied", documents=3, policy="ab12")

    assert output.text == (
        '{"time":"2026-01-01T12:00:00.250Z","level":"info","event":"policy applied",'
        '"documents":3,"policy":"ab12"}\n'
    )


def test_a_line_for_people_has_the_same_in_words() -> None:
    output = Output(LogFormat.CONSOLE)
    output.log.warning("policy rejected", why=["a.yaml:3", 7], policy="ab12")

    assert output.text == (
        '2026-01-01T12:00:00.250Z WARNING policy rejected  why=["a.yaml:3", 7]  policy=ab12\n'
    )


def test_what_is_less_severe_than_the_level_is_not_shown() -> None:
    output = Output(level=LogLevel.WARNING)
    output.log.info("quiet")
    output.log.warning("loud")
    output.log.error("louder")

    assert [json.loads(line)["event"] for line in output.lines] == ["loud", "louder"]


def test_a_field_does_not_take_the_place_of_the_time_or_the_level() -> None:
    output = Output()
    output.log.info("event", time="yesterday", level=3)

    assert output.fields["time"] == "2026-01-01T12:00:00.250Z"
    assert (output.fields["time_"], output.fields["level_"]) == ("yesterday", 3)


@pytest.mark.parametrize("log_format", LogFormat)
def test_a_line_is_one_line_and_bounded(log_format: LogFormat) -> None:
    output = Output(log_format)
    output.log.info("event", **{f"field{number}": "ä\n\x1b[2J" * MAX_VALUE for number in range(40)})

    [line] = output.lines
    assert len(line) <= MAX_LINE
    assert line.count(b"\n") == 1
    assert b"\x1b" not in line
    if log_format is LogFormat.JSON:
        assert output.fields == {
            "time": "2026-01-01T12:00:00.250Z",
            "level": "info",
            "event": "event",
            "truncated": True,
        }


def test_what_cannot_be_rendered_ends_nothing() -> None:
    output = Output()
    output.log.info("event", table={Unprintable(): 1})

    assert output.fields["event"] == "a log line could not be written"
    assert output.fields["error"].startswith("ValueError at proxy/telemetry/logs.py:")
    assert CANARY not in output.text


# --- what is shown --------------------------------------------------------------------------------


@pytest.mark.parametrize("log_format", LogFormat)
def test_a_secret_is_never_shown_however_deep_it_lies(log_format: LogFormat) -> None:
    secret = Secret(CANARY.encode())
    output = Output(log_format)

    output.log.error("event", plain=secret, nested={"a": [{"b": (secret,)}]}, raw=CANARY.encode())

    assert CANARY not in output.text
    assert output.text.count("(secret)") == 2
    assert f"({len(CANARY)} bytes)" in output.text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://example.com/a?token=x", "https://example.com/a?…"),
        ("https://example.com/a#token=x", "https://example.com/a?…"),
        (
            "GET https://example.com/a?token=x failed, see /b?c=d",
            "GET https://example.com/a?… failed, see /b?…",
        ),
        ("https://user:word@example.com/a", "https://example.com/a"),
        ("https://user:w?rd@example.com/a", "https://example.com/a"),
        ("postgresql+asyncpg://user:word@db/x?y", "postgresql+asyncpg://db/x?…"),
        ("/v1/models?key=x", "/v1/models?…"),
        ("did you mean `openai`?", "did you mean `openai`?"),
        ("grants[0]/paths?", "grants[0]/paths?"),
        ("a\nb\x1b[0m\u202e", "a\\nb\\x1b[0m\\u202e"),
        ("größer", "größer"),
        ("x" * (MAX_VALUE + 1), "x" * (MAX_VALUE - 1) + "…"),
    ],
)
def test_a_text_is_shown_without_what_does_not_belong_into_a_log(text: str, shown: str) -> None:
    assert presentable(text) == shown


@pytest.mark.parametrize("name", ["path", "target", "url"])
def test_a_field_for_a_target_has_no_query_whatever_it_looks_like(name: str) -> None:
    assert presentable("models?key=x#y\nz", name) == "models?…"
    assert presentable(["models?key=x"], name) == ["models?…"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (1.5, 1.5),
        (float("inf"), "inf"),
        (LogLevel.DEBUG, "debug"),
        (NOON, "2026-01-01T13:00:00.250000+01:00"),
        (parse_hostname("example.com"), "example.com"),
        (PurePosixPath("/etc"), "/etc"),
        (ip_address("::1"), "::1"),
        (Problem("a.yaml", 3, "spec", "is wrong", "mend it"), "a.yaml:3: spec: is wrong"),
        ([SettingProblem("PODKEY_X", "is wrong", "mend it")], ["PODKEY_X: is wrong"]),
        ({"a": {1: b"x"}}, {"a": {"1": "(1 bytes)"}}),
        (object(), "(object)"),
        (ValueError(CANARY), "ValueError"),
        (list(range(MAX_ITEMS + 1)), list(range(MAX_ITEMS))),
    ],
)
def test_a_value_is_shown_as_json_can_hold_it(value: object, shown: object) -> None:
    assert presentable(value) == shown


def test_depth_has_an_end() -> None:
    value: list[object] = []
    value.append(value)

    assert json.dumps(presentable(value), ensure_ascii=False) == "[" * MAX_DEPTH + '"…"' + "]" * MAX_DEPTH


@given(
    st.recursive(
        st.text() | st.binary() | st.floats() | st.none(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_every_value_makes_a_printable_line(value: object) -> None:
    shown = json.dumps(presentable(value), allow_nan=False, ensure_ascii=False)

    assert shown.isprintable()


# --- exceptions -----------------------------------------------------------------------------------


def test_of_an_exception_only_type_and_place_are_told() -> None:
    output = Output()
    error = fault_of(lambda: presentable({Unprintable(): 1}))

    output.log.error("event", exc_info=error)
    output.log.error("event", exc_info=(type(error), error, error.__traceback__))
    output.log.error("event", why=error)
    try:
        presentable({Unprintable(): 1})
    except ValueError:
        output.log.error("event", exc_info=True)  # noqa: G201 - not the standard library's logger
    output.log.error("event", exc_info=None, stack_info=True)

    assert CANARY not in output.text
    first, second, third, fourth, last = (json.loads(line) for line in output.lines)
    assert first["error"] == second["error"] == fourth["error"] == "ValueError"
    assert first["place"].startswith("proxy/telemetry/logs.py:")
    assert third["why"] == f"ValueError at {first['place']}"
    assert last.keys() == {"time", "level", "event"}


def test_the_place_is_the_innermost_line_of_ours() -> None:
    error = fault_of(lambda: presentable({Unprintable(): 1}))

    assert place_of(error).startswith("proxy/telemetry/logs.py:")


def test_the_place_is_the_innermost_of_all_where_none_is_ours() -> None:
    error = fault_of(lambda: json.loads("{"))

    assert place_of(error).startswith("decoder.py:")
    assert place_of(ValueError("never raised")) == ""


# --- the rest of the process ----------------------------------------------------------------------


def test_what_libraries_log_is_told_without_their_words() -> None:
    output = Output()
    logging.getLogger("mitmproxy.addons").warning(f"could not send {CANARY}")  # noqa: G004
    logging.getLogger("mitmproxy.proxy").error("closing %s", CANARY)
    logging.getLogger("mitmproxy.proxy").info("nobody asked")
    try:
        int(CANARY + "x")
    except ValueError:
        logging.getLogger("hpack").exception(CANARY)

    assert CANARY not in output.text
    told = [json.loads(line) for line in output.lines]
    assert [(line["level"], line["event"], line["logger"]) for line in told] == [
        ("warning", "a library logged something", "mitmproxy.addons"),
        ("error", "closing %s", "mitmproxy.proxy"),
        ("error", "a library logged something", "hpack"),
    ]
    assert told[0]["place"].startswith("test_logs:")
    assert told[2]["error"].startswith("ValueError at test_logs.py:")


def test_what_asyncio_says_of_a_lost_exception_is_told_without_its_text() -> None:
    output = Output()

    async def fails() -> None:
        raise ValueError(CANARY)

    async def forget() -> None:
        task = asyncio.ensure_future(fails())
        await asyncio.wait([task])
        del task
        asyncio.get_running_loop().call_exception_handler({"message": f"Exception in callback ({CANARY})"})

    asyncio.run(forget())

    assert CANARY not in output.text
    events = [json.loads(line)["event"] for line in output.lines]
    assert sorted(events) == ["Exception in callback", "Task exception was never retrieved"]


def test_what_nobody_caught_is_told_without_its_text() -> None:
    output = Output()
    error = fault_of(lambda: int(CANARY + "x"))

    sys.excepthook(ValueError, error, None)
    thread = threading.Thread(target=int, args=(CANARY + "x",))
    thread.start()
    thread.join()
    sys.unraisablehook(type("Args", (), {"exc_value": error})())

    assert CANARY not in output.text
    assert [json.loads(line)["event"] for line in output.lines] == [
        "uncaught exception",
        "uncaught exception in a thread",
        "exception that nobody could catch",
    ]


def test_nothing_but_this_module_writes_for_people_to_standard_error() -> None:
    Output()

    assert not logging.raiseExceptions
    assert [type(handler).__name__ for handler in logging.getLogger().handlers] == ["_Bridge"]


def test_a_text_of_a_kind_of_its_own_is_a_text() -> None:
    text = type("Name", (str,), {})("models?key=x")

    assert presentable(text, "path") == "models?…"
