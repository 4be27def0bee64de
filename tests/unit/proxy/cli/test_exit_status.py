import signal
from os import EX_IOERR, EX_USAGE

from proxy.cli import exit_status


def test_statuses_follow_the_conventions_they_name() -> None:
    assert exit_status.USAGE == EX_USAGE
    assert exit_status.UNWRITABLE == EX_IOERR
    assert exit_status.INTERRUPTED == 128 + signal.SIGINT


def test_no_two_outcomes_share_a_status() -> None:
    statuses = [value for name, value in vars(exit_status).items() if name.isupper()]

    assert len(statuses) == len(set(statuses)) == 6
