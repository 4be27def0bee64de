"""What becomes of a pod, with all reasons. Matched to the end."""

from proxy.core.injection_codes import InjectionCode
from proxy.core.structs import Struct


class Finding(Struct, frozen=True):
    """One reason or warning: its code, what was found where, and what to change."""

    code: InjectionCode
    message: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.code.value}: {self.message}" + (f"; {self.fix}" if self.fix else "")


class Inject(Struct, frozen=True):
    """The pod gets a sidecar. A pod that has it already is injected, too, and its patch is empty."""

    reasons: tuple[Finding, ...]
    warnings: tuple[Finding, ...] = ()


class Skip(Struct, frozen=True):
    """It starts as it is."""

    reasons: tuple[Finding, ...]
    warnings: tuple[Finding, ...] = ()


class Refuse(Struct, frozen=True):
    """It does not start: all reasons are told at once."""

    reasons: tuple[Finding, ...]
    warnings: tuple[Finding, ...] = ()


Outcome = Inject | Skip | Refuse
