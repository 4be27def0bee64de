import pytest

from proxy.cli.exit_status import USAGE
from proxy.cli.parsing import command_parser, top_parser


def test_misuse_has_a_status_of_its_own_and_says_where_to_look(capsys: pytest.CaptureFixture[str]) -> None:
    parser = command_parser("check", "read policy files")
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["--nonsense"])
    assert ended.value.code == USAGE
    assert capsys.readouterr().err.endswith("see: podkey check --help\n")


def test_half_a_flag_is_none() -> None:
    parser = command_parser("check", "read policy files")
    parser.add_argument("--policies")
    with pytest.raises(SystemExit):
        parser.parse_args(["--pol", "x"])


def test_the_help_begins_with_what_the_command_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command_parser("check", "read policy files").parse_args(["--help"])
    assert "Read policy files." in capsys.readouterr().out


def test_the_version_is_told_without_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        top_parser("", "1.2").parse_args(["--version"])
    assert capsys.readouterr().out == "podkey 1.2\n"
