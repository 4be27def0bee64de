"""The user's annotations under `podkey.io/`, as an `Intent`, or everything that is wrong with them.

A mistyped annotation must not pass in silence: it could be the one that asks for the sidecar. So whatever
begins with our prefix has to be known, and every value exact. (`amazon-eks-pod-identity-webhook` and Azure's
took `"false"` for yes.)
"""

from collections.abc import Callable, Mapping
from typing import Final

from injector.core.intent import Intent, Quantities, Wish
from injector.core.outcome import Finding
from injector.reading.pod_fields import shown
from injector.reading.quantities import QuantityFault, read_quantity, thousandths, whole_units
from proxy.core.contract import (
    API_GROUP,
    CAPTURE_PORTS_VARIABLE,
    EXCLUDE_CIDRS_VARIABLE,
    EXCLUDE_PORTS_VARIABLE,
    IMAGES,
    INJECT,
    INJECTED,
    OWNER,
    PLACEHOLDERS,
)
from proxy.core.injection_codes import InjectionCode
from proxy.core.redirect import Network, Redirect
from proxy.core.settings import Capture
from proxy.documents.problems import Fault, did_you_mean
from proxy.documents.redirect_settings import read_redirect
from proxy.documents.setting_kinds import shown as beginning

_PREFIX: Final = f"{API_GROUP}/"
CAPTURE: Final = f"{_PREFIX}capture"
CPU_REQUEST: Final = f"{_PREFIX}sidecar-cpu-request"
CPU_LIMIT: Final = f"{_PREFIX}sidecar-cpu-limit"
MEMORY_REQUEST: Final = f"{_PREFIX}sidecar-memory-request"
MEMORY_LIMIT: Final = f"{_PREFIX}sidecar-memory-limit"
CAPTURE_PORTS: Final = f"{_PREFIX}capture-ports"
EXCLUDE_PORTS: Final = f"{_PREFIX}exclude-ports"
EXCLUDE_CIDRS: Final = f"{_PREFIX}exclude-cidrs"
BESIDE_ENV_FROM: Final = f"{_PREFIX}placeholders-beside-env-from"

USER_ANNOTATIONS: Final = (
    INJECT,
    CAPTURE,
    CPU_REQUEST,
    CPU_LIMIT,
    MEMORY_REQUEST,
    MEMORY_LIMIT,
    CAPTURE_PORTS,
    EXCLUDE_PORTS,
    EXCLUDE_CIDRS,
    BESIDE_ENV_FROM,
)
# Whether a pod may have them is judged where its containers are (`craft/coverage.py`).
INJECTOR_ANNOTATIONS: Final = frozenset({INJECTED, OWNER, IMAGES, PLACEHOLDERS})
_KNOWN: Final = INJECTOR_ANNOTATIONS.union(USER_ANNOTATIONS)

# Hundreds of ports or networks: more than anybody writes, and far less than the 256 KiB that Kubernetes lets
# annotations have, which would make long lists of long lists.
MAX_VALUE_LENGTH: Final = 4096

_WISHES: Final = {wish.value: wish for wish in Wish}
_CAPTURES: Final = {capture.value: capture for capture in Capture}
_MEANT: Final = {
    **dict.fromkeys(("true", "yes", "on", "1", "enable"), Wish.ENABLED.value),
    **dict.fromkeys(("false", "no", "off", "0", "disable", "none"), Wish.DISABLED.value),
}
_VARIABLES: Final = {
    CAPTURE_PORTS: CAPTURE_PORTS_VARIABLE,
    EXCLUDE_PORTS: EXCLUDE_PORTS_VARIABLE,
    EXCLUDE_CIDRS: EXCLUDE_CIDRS_VARIABLE,
}
_ANNOTATIONS: Final = {variable: annotation for annotation, variable in _VARIABLES.items()}
# In words for people who annotate pods and never see the init container's environment.
_FOR_PODS: Final = (
    *((variable, f"`{annotation}`") for annotation, variable in _VARIABLES.items()),
    ("PODKEY_CAPTURE=explicit", f"`{CAPTURE}: explicit`"),
)


# One comparison with all known names costs some 100 µs, and a pod has room for ten thousand mistakes.
MAX_EXPLAINED: Final = 8


def read_intent(annotations: Mapping[str, str]) -> Intent | tuple[Finding, ...]:
    ours = {key: value for key, value in annotations.items() if key.lower().startswith(_PREFIX)}
    if not ours:
        return _NOTHING_SAID
    reader = _Reader(ours)
    reader.blame_unknown()
    capture_ports, exclude_ports, exclude_cidrs = reader.read_redirect()
    intent = Intent(
        wish=reader.read(INJECT, _wish, None),
        capture=reader.read(CAPTURE, _capture, frozenset()),
        sidecar=Quantities(
            cpu_request=reader.read(CPU_REQUEST, _cpu, None),
            cpu_limit=reader.read(CPU_LIMIT, _cpu, None),
            memory_request=reader.read(MEMORY_REQUEST, _memory, None),
            memory_limit=reader.read(MEMORY_LIMIT, _memory, None),
        ),
        capture_ports=capture_ports,
        exclude_ports=exclude_ports,
        exclude_cidrs=exclude_cidrs,
        placeholders_beside_env_from=reader.read(BESIDE_ENV_FROM, _set, default=False),
    )
    return tuple(reader.findings) or intent


_NOTHING_SAID: Final = Intent()


def wish_of(annotations: Mapping[str, str]) -> Wish | None:
    """What `podkey.io/inject` says, whatever the others do; None also where it says nothing sensible."""
    return _WISHES.get(annotations.get(INJECT, ""))


class _Reader:
    def __init__(self, given: Mapping[str, str]) -> None:
        self.findings: list[Finding] = []
        self._given = dict(given)
        for name, value in given.items():
            if len(value) > MAX_VALUE_LENGTH and name in USER_ANNOTATIONS:
                self._blame(name, f"it has {len(value)} characters", f"write at most {MAX_VALUE_LENGTH}")
                del self._given[name]

    def read[T, D](self, name: str, parse: Callable[[str], T], default: D) -> T | D:
        if name not in self._given:
            return default
        try:
            return parse(self._given[name])
        except Fault as fault:
            self._blame(name, fault.message, fault.fix)
            return default

    def read_redirect(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[Network, ...]]:
        """Read by `podkey redirect`'s own reader, so that its init container cannot fail on what we took."""
        given = {
            variable: self._given[annotation].strip()
            for annotation, variable in _VARIABLES.items()
            if annotation in self._given
        }
        outcome = read_redirect(given)
        if isinstance(outcome, Redirect):
            ports = outcome.captured_ports if given.get(CAPTURE_PORTS_VARIABLE) else ()
            return ports, outcome.excluded_ports, outcome.excluded_cidrs
        for problem in outcome:
            self._blame(_ANNOTATIONS[problem.name], problem.message, _for_pods(problem.fix))
        return (), (), ()

    def blame_unknown(self) -> None:
        unknown = sorted(self._given.keys() - _KNOWN)
        for name in unknown[:MAX_EXPLAINED]:
            message = f"there is no annotation {shown(name)}"
            self.findings.append(
                Finding(InjectionCode.BAD_ANNOTATION, message, did_you_mean(name, USER_ANNOTATIONS))
            )
        if more := unknown[MAX_EXPLAINED:]:
            message = f"there are {len(more)} further annotations that begin with `{_PREFIX}` and are unknown"
            self.findings.append(Finding(InjectionCode.BAD_ANNOTATION, message, "remove them"))

    def _blame(self, name: str, message: str, fix: str) -> None:
        self.findings.append(Finding(InjectionCode.BAD_ANNOTATION, f"`{name}`: {message}", fix))


def _for_pods(fix: str) -> str:
    for variable, annotation in _FOR_PODS:
        fix = fix.replace(variable, annotation)
    return fix


# --- values --------------------------------------------------------------------------------------


def _wish(text: str) -> Wish:
    if text in _WISHES:
        return _WISHES[text]
    plain = text.strip().lower()
    meant = plain if plain in _WISHES else _MEANT.get(plain)
    fix = f"write `{meant}`" if meant else did_you_mean(plain, _WISHES)
    raise Fault(f"{beginning(text)} is none of `enabled`, `disabled` and `observe`", fix)


def _capture(text: str) -> frozenset[Capture]:
    items = [item.strip() for item in text.split(",")]
    for item in items:
        if item not in _CAPTURES:
            raise Fault(f"{beginning(item)} is no way to capture calls", did_you_mean(item, _CAPTURES))
    return frozenset(_CAPTURES[item] for item in items)


def _cpu(text: str) -> int:
    return thousandths(_quantity(text, "`100m`"))


def _memory(text: str) -> int:
    return whole_units(_quantity(text, "`256Mi`"))


def _quantity(text: str, example: str) -> int:
    try:
        quantity = read_quantity(text)
    except QuantityFault:
        quantity = 0
    if quantity <= 0:
        raise Fault(f"{beginning(text)} is no quantity above zero", f"write one such as {example}")
    return quantity


def _set(text: str) -> bool:
    if text != "set":
        raise Fault(f"{beginning(text)} means nothing here", "write `set`, or take the annotation away")
    return True
