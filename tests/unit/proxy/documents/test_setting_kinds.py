from datetime import timedelta
from enum import Enum
from typing import Any

import pytest

from proxy.documents.problems import Fault
from proxy.documents.setting_kinds import (
    MAX_PATH_LENGTH,
    PATH,
    SHOWN_CHARACTERS,
    Kind,
    Setting,
    flag_of,
    items,
    lifetime,
    matching,
    number,
    one_of,
    optional,
    or_empty,
    seconds,
    shown,
    size,
)


class Colour(Enum):
    RED = "red"
    DARK_BLUE = "dark-blue"


PORT = number("a port", 1024, 65535)
TIME = seconds("1s", "1h")
SIZE = size("1Ki", "2Mi")


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (PORT, "1024", 1024),
        (PORT, "065535", 65535),
        (TIME, "1", 1),
        (TIME, "25s", 25),
        (TIME, "10m", 600),
        (TIME, "1h", 3600),
        (seconds("0s", "1h"), "0", 0),
        (SIZE, "1Ki", 1024),
        (SIZE, "1024", 1024),
        (SIZE, "2Mi", 2_097_152),
        (SIZE, "2097152", 2_097_152),
        (lifetime("1d", "365d"), "90d", timedelta(days=90)),
        (lifetime("10m", "24h"), "24h", timedelta(days=1)),
        (one_of(Colour), "dark-blue", Colour.DARK_BLUE),
        (items(PORT, ",", "commas"), "", ()),
        (items(PORT, ",", "commas"), "2000 , 3000,", (2000, 3000)),
        (items(PORT, None, "blanks"), "2000 \t 3000", (2000, 3000)),
        (PATH, "/etc/podkey", "/etc/podkey"),
        (PATH, "relative/path", "relative/path"),
        (optional(PATH), "", None),
        (optional(PATH), "/x", "/x"),
        (or_empty(PATH), "", ""),
        (or_empty(PATH), "/x", "/x"),
        (matching("a word", "[a-z]+", "write a word"), "word", "word"),
    ],
)
def test_reads(kind: Kind[Any], text: str, value: object) -> None:
    assert kind.parse(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "message", "fix"),
    [
        (PORT, "1023", "`1023` is not a port from 1024 to 65535", "write a port from 1024 to 65535"),
        (PORT, "65536", "`65536` is not a port from 1024 to 65535", "write a port from 1024 to 65535"),
        (PORT, "-1", "`-1` is not a port from 1024 to 65535", "write a port from 1024 to 65535"),
        (PORT, "٢٠٠٠", r"`\u0662\u0660\u0660\u0660` is not a port from 1024 to 65535", None),
        (PORT, "9" * 5000, "`999999999999…` is not a port from 1024 to 65535", None),
        (
            TIME,
            "soon",
            "`soon` is not a time",
            "write a whole number and its unit: `25s`, `10m`, `24h` or `90d`",
        ),
        (TIME, "1.5s", "`1.5s` is not a time", None),
        (TIME, "-1s", "`-1s` is not a time", None),
        (TIME, "25S", "`25S` is not a time", None),
        (TIME, "0", "`0` is not a time from 1s to 1h", "write a time from 1s to 1h"),
        (TIME, "61m", "`61m` is not a time from 1s to 1h", "write a time from 1s to 1h"),
        *(
            (SIZE, text, f"`{text}` is not a size", "write bytes, or a number with `Ki` or `Mi`: `16Mi`")
            for text in ("1M", "1m", "1MiB", "1.5Mi", "1 Mi", "-1Ki", "1Gi", "1mi", "Ki", "1e6")
        ),
        (SIZE, "1023", "`1023` is not a size from 1Ki to 2Mi", "write a size from 1Ki to 2Mi"),
        (SIZE, "2049Ki", "`2049Ki` is not a size from 1Ki to 2Mi", "write a size from 1Ki to 2Mi"),
        (SIZE, "9" * 5000, "`999999999999…` is not a size", None),
        (lifetime("10m", "24h"), "25h", "`25h` is not a time from 10m to 24h", None),
        (one_of(Colour), "Red", "`Red` is not `red` or `dark-blue`", "did you mean `red`?"),
        (items(PORT, ",", "commas", least=1), ",", "it lists nothing", None),
        (items(PORT, ",", "commas"), "2000,2000", "something stands there twice", "write each once"),
        (items(PORT, ",", "commas"), "2000,x", "`x` is not a port from 1024 to 65535", None),
        (PATH, "/" * (MAX_PATH_LENGTH + 1), "`////////////…` is not a path", None),
        (matching("a word", "[a-z]+", "write a word"), "Word\n", r"`Word\n` is not a word", "write a word"),
    ],
)
def test_says_what_is_wrong_and_how_to_mend_it(
    kind: Kind[Any], text: str, message: str, fix: str | None
) -> None:
    with pytest.raises(Fault) as caught:
        kind.parse(text)

    assert caught.value.message == message
    assert fix is None or caught.value.fix == fix


def test_a_path_may_hold_bytes_that_are_no_text() -> None:
    assert PATH.parse("/data/\udcff") == "/data/\udcff"


def test_a_message_shows_too_little_of_a_value_to_be_a_key() -> None:
    key = "sk-" + "k" * 40

    assert shown(key) == f"`{key[:SHOWN_CHARACTERS]}…`"
    assert shown("\x1b[2J\udcff") == r"`\x1b[2J\udcff`"


def test_an_unset_or_empty_variable_has_its_default() -> None:
    setting = Setting("PODKEY_PORT", PORT, "2000", "A port.")

    assert setting.read({}) == 2000
    assert setting.read({"PODKEY_PORT": " "}) == 2000
    assert setting.read({"PODKEY_PORT": " 3000\n"}) == 3000


def test_a_variable_without_a_default_must_be_set() -> None:
    setting = Setting("PODKEY_PORT", PORT, None, "A port.")

    with pytest.raises(Fault) as caught:
        setting.read({"PODKEY_PORT": ""})

    assert (caught.value.message, caught.value.fix) == ("it is not set", f"set it to {PORT.what}")


def test_a_variable_names_its_option() -> None:
    assert flag_of("PODKEY_POLICY_DIR") == "--policy-dir"
