"""What each kind does stands in its own test and in test_table.py; here, that the two tables are one."""

import subprocess
import sys

from proxy.core.aws_sources import AwsStatic
from proxy.core.credentials import SourceKind
from proxy.core.mounted_sources import MountedSecret
from proxy.sources.asking_table import AskingKind
from tests.command_line import ROOT


def test_it_has_every_kind_that_does_not_read_files_alone() -> None:
    assert {*AskingKind.__args__} == {*SourceKind.__args__} - {MountedSecret, AwsStatic}


def test_who_reads_files_alone_does_not_load_it() -> None:
    program = (
        "import sys; from proxy.sources import table; from proxy.core.aws_sources import AwsStatic as Keys\n"
        "keys = Keys('s'); next(table.steps_of(keys, None))\n"
        "assert table.renewal_of(keys, None, None) is table.revocation_of(keys, None, None) is None\n"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "proxy.sources.aws_static" in done.stdout.split()
    assert {"proxy.sources.asking_table", "proxy.sources.vault"} & {*done.stdout.split()} == set()
