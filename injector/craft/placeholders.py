"""What a pod's SDKs are given in place of credentials: drawn for each pod, in the shapes of the catalogue.

The annotation `podkey.io/placeholders` keeps them, so that a second call finds what the first has drawn, and
the downward API shows it to the sidecar, which tells them from credentials by it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final

from injector.core.outcome import Finding
from proxy.core.contract import PLACEHOLDERS
from proxy.core.injection_codes import InjectionCode
from proxy.core.services import ALPHABETS, DRAWN, Placeholder, Service
from proxy.documents.pod_files import MAX_PLACEHOLDERS_BYTES

_FIX: Final = f"take the annotation `{PLACEHOLDERS}` out of the pod: the injector writes it"


# So many characters of an alphabet, by chance.
type Choose = Callable[[str, int], str]


def draw(services: Iterable[Service], choose: Choose) -> Mapping[str, str]:
    """By variable.

    AWS's services want the same two variables, and a pod has one value of each: the first service's.
    """
    drawn: dict[str, str] = {}
    for service in services:
        for placeholder in service.placeholders:
            if placeholder.name not in drawn:
                drawn[placeholder.name] = _filled(placeholder.value, choose)
    return drawn


def _filled(template: str, choose: Choose) -> str:
    text, parts = _parts(template)
    for alphabet, count, following in parts:
        text += choose(alphabet, count) + following
    return text


@lru_cache(maxsize=256)  # a template is the catalogue's, which has some dozens of them
def _parts(template: str) -> tuple[str, tuple[tuple[str, int, str], ...]]:
    """What it begins with; then what is drawn, of which alphabet and how much, and what follows it."""
    literal, *rest = DRAWN.split(template)
    drawn = zip(rest[0::3], rest[1::3], rest[2::3], strict=True)
    return literal, tuple((ALPHABETS[name], int(count), following) for name, count, following in drawn)


def render_placeholders(placeholders: Mapping[str, str]) -> str:
    """Lines of `NAME=value`, sorted: the same pod has the same text."""
    return "\n".join(f"{name}={value}" for name, value in sorted(placeholders.items()))


def read_placeholders(text: str, catalogue: Mapping[str, Service]) -> Mapping[str, str] | Finding:
    """What an earlier call has drawn. Anything else would be a variable of somebody's choice in each
    container, and something that the sidecar takes for harmless."""
    if len(text.encode()) > MAX_PLACEHOLDERS_BYTES:
        return _refused(f"has more than {MAX_PLACEHOLDERS_BYTES} bytes")
    shapes: dict[str, set[Placeholder]] = defaultdict(set)
    for placeholder in (one for service in catalogue.values() for one in service.placeholders):
        shapes[placeholder.name].add(placeholder)
    found: dict[str, str] = {}
    for place, line in enumerate(text.split("\n") if text else [], 1):
        # The line is not shown: whoever put a key there did not mean to have it in a log.
        name, _, value = line.partition("=")
        if not any(placeholder.shape.fullmatch(value) for placeholder in shapes[name]):
            return _refused(f"holds in line {place} what is no placeholder of a service")
        if name in found:
            return _refused(f"names `{name}` twice")
        found[name] = value
    return found


def _refused(what: str) -> Finding:
    return Finding(InjectionCode.RESERVED_ANNOTATION, f"the annotation `{PLACEHOLDERS}` {what}", _FIX)
