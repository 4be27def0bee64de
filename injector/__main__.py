"""`python -m injector` is `podkey-injector`."""

from injector.cli.main import run

run()
