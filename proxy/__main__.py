"""`python -m proxy` is `podkey`."""

from proxy.cli.main import run

run()
