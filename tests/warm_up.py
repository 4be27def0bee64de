"""Bytecode for programs that run as users who may not write it: without, each of them compiles every time.

Root, who runs these tests, can keep it for all of them, as its own imports do.
"""

import functools
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

from tests.netns import ROOT

SDKS: Final = ("boto3", "botocore", "s3transfer", "httpx", "httpcore", "h2", "huggingface_hub", "openai")


@functools.cache
def warm_up_sidecar() -> None:
    """`python -O` keeps files of its own."""
    _run("-O", "-c", "import proxy.cli.run, proxy.edge.assembly")


@functools.cache
def warm_up_sdks() -> None:
    site_packages = Path(sysconfig.get_path("purelib"))
    _run("-m", "compileall", "-q", *(str(path) for name in SDKS if (path := site_packages / name).is_dir()))


def _run(*arguments: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, check=True)
