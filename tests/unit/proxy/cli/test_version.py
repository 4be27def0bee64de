import pytest

from proxy import __version__
from tests.command_line import podkey


def test_tells_the_version_and_the_version_of_the_documents(capsys: pytest.CaptureFixture[str]) -> None:
    assert podkey("version") == 0
    assert capsys.readouterr().out == f"podkey {__version__} (documents: podkey.io/v1alpha1)\n"


def test_takes_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert podkey("version", "2") == 64
    assert "unrecognized arguments: 2" in capsys.readouterr().err
