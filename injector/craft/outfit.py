"""Our containers and volumes, as a pod of certain measures gets them.

They are kept: most pods have the same measures, and to make them takes longer than all else of a review. What
is written into a pod is never changed afterwards (`jsonpatch.py` copies), so pods share them.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from injector.core.outcome import Refuse
from injector.craft.measures import Measures
from injector.craft.patch_text import Prepared
from injector.craft.redirect import redirect_container, redirect_means, redirect_variables
from injector.craft.resources import (
    NOTHING_ASKED,
    REDIRECT_RESOURCES,
    container_resources,
    sidecar_quantities,
)
from injector.craft.sidecar import sidecar_container
from injector.craft.volumes import volumes_of
from proxy.core.redirect import Redirect
from proxy.core.settings import Capture
from proxy.core.structs import Struct

type Raw = Mapping[str, Any]

# Each is some 15 KiB of small objects and 5 KiB of text. A cluster has some tens: namespaces differ in the
# Secrets of their sources, and a pod may be guaranteed, or captured in its own way.
_MOST_KEPT: Final = 128
# What annotations say, and what an earlier call has left, is anybody's to write. This much makes an outfit of
# 100 KiB, and so at most 13 MiB of all; larger ones are made each time. It has room for some forty Secrets.
MAX_KEPT_SIZE: Final = 4096


class Outfit(Struct, frozen=True):
    # In the order in which they start. The sidecar is the last.
    containers: tuple[Raw, ...]
    volumes: tuple[Raw, ...]
    redirect: Redirect


def outfit_of(measures: Measures) -> Outfit | Refuse:
    return _kept(measures) if measures.size <= MAX_KEPT_SIZE else _made(measures)


def _made(measures: Measures) -> Outfit | Refuse:
    intent, sidecar = measures.intent, measures.sidecar
    quantities = sidecar_quantities(intent.sidecar, sidecar)
    variables = redirect_variables(intent, sidecar, measures.rules)
    transparent = Capture.TRANSPARENT in measures.capture
    redirect = redirect_means(variables) if transparent else Redirect(captured_ports=())
    if isinstance(quantities, tuple) or not isinstance(redirect, Redirect):
        wrong = quantities if isinstance(quantities, tuple) else ()
        return Refuse((*wrong, *(() if isinstance(redirect, Redirect) else redirect)))
    containers: list[Raw] = []
    budget, guaranteed = measures.budgeted, measures.guaranteed
    if transparent:
        resources = container_resources(REDIRECT_RESOURCES, NOTHING_ASKED, budget, guaranteed=guaranteed)
        containers.append(redirect_container(variables, sidecar, resources))
    resources = container_resources(quantities, intent.sidecar, budget, guaranteed=guaranteed)
    containers.append(sidecar_container(measures, resources))
    volumes = volumes_of(measures.needs, sidecar.token_seconds)
    return Outfit(tuple(map(Prepared, containers)), tuple(map(Prepared, volumes)), redirect)


_kept = lru_cache(maxsize=_MOST_KEPT)(_made)
