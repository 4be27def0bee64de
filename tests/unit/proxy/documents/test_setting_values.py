from collections.abc import Callable
from ipaddress import ip_network

import pytest

from proxy.documents.problems import Fault
from proxy.documents.setting_values import (
    SettingProblem,
    SettingsReader,
    parse_flag,
    parse_network,
    parse_port,
    parse_uid,
)


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_port, "1", 1),
        (parse_port, "65535", 65535),
        (parse_uid, "0", 0),
        (parse_uid, "4294967294", 4294967294),
        (parse_flag, "true", True),
        (parse_flag, "false", False),
        (parse_network, "10.0.0.0/8", ip_network("10.0.0.0/8")),
        (parse_network, "10.0.0.0/255.0.0.0", ip_network("10.0.0.0/8")),
        (parse_network, "10.1.2.3", ip_network("10.1.2.3/32")),
        (parse_network, "FD00::/8", ip_network("fd00::/8")),
        (parse_network, "::/0", ip_network("::/0")),
    ],
)
def test_reads_what_is_right(parse: Callable[[str], object], text: str, value: object) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "what", "fix", "texts"),
    [
        (parse_port, "is not a port", "from 1 to 65535", ("0", "65536", "+443", "443x")),
        (parse_uid, "is not a user id", "1337", ("-1", "4294967295", "root", "1_000")),
        (parse_flag, "is neither true nor false", "`true`", ("yes", "1", "True")),
        (parse_network, "is not a CIDR", "10.0.0.0/8", ("example.com", "10.0.0/8", "10.0.0.0/33", "::/8/8")),
        (parse_network, "is not a CIDR", "10.0.0.0/8", ("fe80::1%eth0", "fe80::%e0/64")),
        (parse_network, "has bits set behind its prefix", "`10.0.0.0/8`, or `10.0.0.1`", ("10.0.0.1/8",)),
        (parse_network, "has bits set behind its prefix", "`fd00::/8`, or `fd00::1`", ("fd00::1/8",)),
        (parse_network, "never matches", "`10.0.0.0` with", ("::ffff:10.0.0.0/104", "::ffff:a00:0/104")),
    ],
)
def test_says_what_is_wrong_and_what_to_write(
    parse: Callable[[str], object], what: str, fix: str, texts: tuple[str, ...]
) -> None:
    for text in texts:
        with pytest.raises(Fault) as caught:
            parse(text)

        assert caught.value.message.startswith(f"`{text}` {what}")
        assert fix in caught.value.fix


@pytest.mark.parametrize("parse", [parse_port, parse_uid, parse_flag, parse_network])
def test_a_strange_value_is_not_repeated_as_a_whole_and_an_empty_one_is_named(
    parse: Callable[[str], object],
) -> None:
    """A key that was put into the wrong variable must not reach the log."""
    with pytest.raises(Fault) as strange:
        parse("not-a-live-key-" * 20)
    with pytest.raises(Fault) as digits:
        parse("٤٤٣")
    with pytest.raises(Fault) as empty:
        parse("")

    assert strange.value.message.startswith("`not-a-live-k…` is")
    assert digits.value.message.isascii()
    assert empty.value.message.startswith("an empty item is")


@pytest.mark.parametrize("environment", [{}, {"PORT": ""}, {"PORT": " \n"}])
def test_what_is_not_set_or_empty_has_its_default(environment: dict[str, str]) -> None:
    reader = SettingsReader(environment)

    assert reader.read("PORT", parse_port, 443) == 443
    assert reader.read_list("PORT", parse_port, (443, 80)) == (443, 80)
    assert reader.problems == []


def test_space_around_a_value_or_an_item_is_not_part_of_it() -> None:
    reader = SettingsReader({"PORT": " 443\n", "PORTS": " 443 , 80,\t8443"})

    assert reader.read("PORT", parse_port, 1) == 443
    assert reader.read_list("PORTS", parse_port, ()) == (443, 80, 8443)


def test_every_problem_is_kept_and_the_default_goes_on() -> None:
    reader = SettingsReader({"PORT": "https", "PORTS": "443,x,,80", "FENCE": "no"})

    assert reader.read("PORT", parse_port, 443) == 443
    assert reader.read_list("PORTS", parse_port, ()) == (443, 80)
    assert reader.read("FENCE", parse_flag, default=True) is True
    assert [str(problem) for problem in reader.problems] == [
        "PORT: `https` is not a port",
        "PORTS: `x` is not a port",
        "PORTS: an empty item is not a port",
        "FENCE: `no` is neither true nor false",
    ]
    assert reader.problems[3] == SettingProblem(
        "FENCE", "`no` is neither true nor false", "write `true` or `false`"
    )


def test_a_false_item_of_a_list_is_an_item() -> None:
    assert SettingsReader({"FLAGS": "true,false"}).read_list("FLAGS", parse_flag, ()) == (True, False)
