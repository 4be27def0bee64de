"""What the injector adds to `podkey`: the entry points of the group `podkey.commands` (docs/adr/0014).

They are loaded for `podkey --help`, too, so nothing heavy is imported here.
"""

from importlib import import_module
from types import ModuleType
from typing import Final


class _Inject:
    summary: Final = "print a pod as the admission webhook would change it, with every reason"

    def load(self) -> ModuleType:
        return import_module("injector.cli.inject")


INJECT: Final = _Inject()
