import sys

import pytest

from injector.cli import main as module
from injector.cli.main import main, run
from proxy import __version__
from proxy.cli.exit_status import INTERRUPTED, USAGE


@pytest.mark.parametrize("argv", [[], ["srve"], ["serve", "--imag", "x"], ["serve", "extra"]])
def test_what_is_not_understood_is_told_with_where_to_look(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)

    assert ended.value.code == USAGE
    assert "--help" in capsys.readouterr().err


def test_it_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])

    assert ended.value.code == 0
    assert capsys.readouterr().out == f"podkey-injector {__version__}\n"


@pytest.mark.parametrize(
    ("end", "status"),
    [(0, 0), (1, 1), (SystemExit(64), 64), (SystemExit(None), 0), (KeyboardInterrupt(), INTERRUPTED)],
)
def test_the_status_of_the_program(
    monkeypatch: pytest.MonkeyPatch, end: int | BaseException, status: int
) -> None:
    def stub(argv: list[str]) -> int:
        assert argv == ["serve"]
        if isinstance(end, BaseException):
            raise end
        return end

    monkeypatch.setattr(sys, "argv", ["podkey-injector", "serve"])
    monkeypatch.setattr(module, "main", stub)
    with pytest.raises(SystemExit) as ended:
        run()

    assert ended.value.code == status
