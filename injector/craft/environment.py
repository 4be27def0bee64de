"""The variables of the user's containers, and the mount with the trust files. Nothing is overwritten.

`env` beats `envFrom`, and what a ConfigMap or Secret in `envFrom` holds is not seen here. So a name that one
of them could set is not set in `env`: trust variables come from the ConfigMap `podkey-trust`, as the first
entry of `envFrom`, which all later ones override; the rest is left out with a warning.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final

from injector.core.outcome import Finding
from injector.core.plan import Plan
from injector.core.settings import PodRules
from injector.craft.endpoints import base_urls
from injector.craft.jsonpatch import Editor, Path
from injector.craft.patch_text import Prepared
from injector.craft.trust_variables import JAVA_OPTIONS, JAVA_TRUST_STORE, JAVA_VARIABLE, TRUST_VARIABLES
from injector.craft.volumes import TRUST_MOUNT
from injector.reading.pod_fields import listed
from injector.reading.pods import Container
from proxy.core.contract import EXPLICIT_PORT, METADATA_ADDRESSES, TRUST_CONFIG_MAP
from proxy.core.injection_codes import InjectionCode
from proxy.core.settings import Capture, Endpoint

type Raw = Mapping[str, Any]

PROXY_URL: Final = f"http://127.0.0.1:{EXPLICIT_PORT}"
# By a name that is one setting to a program, and the spellings of it that are set. curl reads http_proxy in
# lower case only: HTTP_PROXY is a header of the request to a CGI program, and so anybody's.
_HTTPS: Final = ("HTTPS_PROXY", "https_proxy")
_HTTP: Final = ("http_proxy",)
_ALL_HTTP: Final = (*_HTTP, "HTTP_PROXY")
_NO_PROXY: Final = ("NO_PROXY", "no_proxy")
_PROXY_NAMES: Final = frozenset({*_HTTPS, *_ALL_HTTP, *_NO_PROXY})
_TRUST_NAMES: Final = frozenset({*TRUST_VARIABLES, JAVA_VARIABLE})

# Optional: the namespace's label may be gone, and the ConfigMap with it, when a container starts again.
TRUST_ENTRY: Final[Raw] = {"configMapRef": {"name": TRUST_CONFIG_MAP, "optional": True}}


@dataclass(frozen=True)
class Variables:
    """What each of the user's containers gets in this pod."""

    # Placeholders and base URLs.
    service: Mapping[str, str]
    # Empty where the pod is not captured by HTTPS_PROXY.
    no_proxy: str = ""
    beside_env_from: bool = False

    def are_new_to(self, container: Container) -> bool:
        """Whether it sets none of them, and nothing that could."""
        env = container.env
        return (
            not container.env_from
            and _TRUST_NAMES.isdisjoint(env)
            and self.service.keys().isdisjoint(env)
            and not (self.no_proxy and not _PROXY_NAMES.isdisjoint(env))
        )

    @cached_property
    def entries(self) -> list[Raw]:
        """For a container that sets none of them: the same ones in each of a pod."""
        given = {**TRUST_VARIABLES, JAVA_VARIABLE: JAVA_OPTIONS, **self.service}
        if self.no_proxy:
            given |= dict.fromkeys((*_HTTPS, *_HTTP), PROXY_URL) | dict.fromkeys(_NO_PROXY, self.no_proxy)
        return _entries(given)


def variables_of(plan: Plan, endpoints: Iterable[Endpoint], rules: PodRules) -> Variables:
    services = {service.name: service for service in plan.services}
    urls = base_urls(endpoints, services, plan.endpoint_token)
    explicit = Capture.EXPLICIT in plan.capture
    return Variables(
        # A container that reads its key from the same variable as its base URL does not exist.
        service=dict(sorted({**urls, **plan.placeholders}.items())),
        no_proxy=no_proxy(rules) if explicit else "",
        beside_env_from=plan.intent.placeholders_beside_env_from,
    )


@lru_cache(maxsize=8)  # the setting is the same for the whole life of the injector; tests have several
def no_proxy(rules: PodRules) -> str:
    """What is inside the pod and the cluster: the sidecar would relay it, for nothing."""
    return ",".join(
        dict.fromkeys(
            (
                "localhost",
                "127.0.0.1",
                "::1",
                # Nobody should ask them by way of the sidecar, which would answer with a refusal of its own.
                *METADATA_ADDRESSES,
                ".svc",
                f".{rules.cluster_domain}",
                "kubernetes.default",
                *map(str, rules.cluster_cidrs),
                *rules.no_proxy,
            )
        )
    )


def equip(editor: Editor, container: Container, variables: Variables) -> tuple[Finding, ...]:
    """Writes mount and variables into one container, and says what it had to leave."""
    path: Path = ("spec", container.kind.value, container.index)
    if not any(mount.volume == TRUST_MOUNT["name"] for mount in container.mounts):
        editor.extend((*path, "volumeMounts"), [TRUST_MOUNT])
    if variables.are_new_to(container):
        editor.extend((*path, "env"), variables.entries)
        return ()
    draft = _Draft(container, variables)
    if draft.from_config_map and TRUST_ENTRY not in _bare(container.env_from):
        editor.insert((*path, "envFrom"), 0, [TRUST_ENTRY])
    if draft.java is not None:
        index, value = draft.java
        editor.put((*path, "env", index, "value"), value)
    editor.extend((*path, "env"), _entries(draft.added))
    return tuple(draft.findings())


def _entries(variables: Mapping[str, str]) -> list[Raw]:
    return [_TRUST_ENTRIES.get(pair) or _entry(*pair) for pair in variables.items()]


def _entry(name: str, value: str) -> Raw:
    return {"name": name, "value": _literal(value)}


def _literal(value: str) -> str:
    # Kubernetes expands `$(NAME)`, and makes one dollar of two.
    return value.replace("$(", "$$(")


_TRUST_ENTRIES: Final = {
    pair: Prepared(_entry(*pair)) for pair in {**TRUST_VARIABLES, JAVA_VARIABLE: JAVA_OPTIONS}.items()
}


def _bare(entries: Iterable[Raw]) -> list[Raw]:
    """Without what the API server or another webhook writes for nothing."""
    return [{key: value for key, value in entry.items() if value} for entry in entries]


class _Draft:
    """What becomes of each variable in one container."""

    def __init__(self, container: Container, variables: Variables) -> None:
        self._container = container
        self._prefixes = [
            str(entry.get("prefix") or "")
            for entry, bare in zip(container.env_from, _bare(container.env_from), strict=True)
            if bare != TRUST_ENTRY
        ]
        self._beside = variables.beside_env_from
        self.added: dict[str, str] = {}
        # The index of the entry and its new value.
        self.java: tuple[int, str] | None = None
        self.from_config_map = False
        self._kept: list[str] = []
        self._proxy_kept: list[str] = []
        self._unseen: list[str] = []
        for name, value in TRUST_VARIABLES.items():
            self._trust(name, value)
        self._java()
        for name, value in variables.service.items():
            self._set((name,), (name,), value, self._kept)
        if variables.no_proxy:
            self._proxy(variables.no_proxy)

    def findings(self) -> Iterator[Finding]:
        who = str(self._container)
        if self._kept:
            message = f"{who} sets {_names(self._kept)} itself, and keeps it"
            yield Finding(InjectionCode.VARIABLE_KEPT, message, "take it out of the container")
        if self._proxy_kept:
            message = f"{who} sets {_names(self._proxy_kept)} itself: what goes there does not come to podkey"
            yield Finding(InjectionCode.PROXY_KEPT, message, "take it out of the container")
        if self._unseen:
            message = f"{who} has `envFrom`, which could set {_names(self._unseen)}: it is not set"
            fix = "write it into `env`, or annotate the pod with podkey.io/placeholders-beside-env-from: set"
            yield Finding(InjectionCode.VARIABLES_UNSEEN, message, fix)

    def _trust(self, name: str, value: str) -> None:
        if name in self._container.env:
            if not self._is(name, value):
                self._kept.append(name)
        elif self._hidden(name):
            self.from_config_map = True
        else:
            self.added[name] = value

    def _java(self) -> None:
        found = self._container.env.get(JAVA_VARIABLE)
        if found is None:
            self._trust(JAVA_VARIABLE, JAVA_OPTIONS)
            return
        text = str(found.get("value") or "")
        if JAVA_OPTIONS in text:
            return
        if found.get("valueFrom") or JAVA_TRUST_STORE in text:
            self._kept.append(JAVA_VARIABLE)
            return
        # Where a name stands twice, the kubelet takes the later one; so does `Container.env`.
        entries = self._container.raw["env"]
        index = next(i for i in reversed(range(len(entries))) if entries[i] is found)
        self.java = index, f"{text} {JAVA_OPTIONS}".strip()

    def _proxy(self, exceptions: str) -> None:
        """Whoever has a proxy of his own has also chosen what does not go there."""
        if self._set(_HTTPS, _HTTPS, PROXY_URL, self._proxy_kept):
            self._set(_HTTP, _ALL_HTTP, PROXY_URL, self._proxy_kept)
            self._set(_NO_PROXY, _NO_PROXY, exceptions, self._proxy_kept)

    def _set(self, names: tuple[str, ...], spellings: tuple[str, ...], value: str, kept: list[str]) -> bool:
        """Sets all names or none: programs differ in which spelling they look at first."""
        set_otherwise = [n for n in spellings if n in self._container.env and not self._is(n, value)]
        missing = [name for name in names if name not in self._container.env]
        if set_otherwise:
            kept += set_otherwise
            return False
        if missing and not self._beside and any(self._hidden(name) for name in spellings):
            self._unseen += missing
            return False
        self.added |= dict.fromkeys(missing, value)
        return True

    def _is(self, name: str, value: str) -> bool:
        found = self._container.env[name]
        return found.get("value") == _literal(value) and not found.get("valueFrom")

    def _hidden(self, name: str) -> bool:
        """Whether something that we do not see may set it."""
        return any(name.startswith(prefix) for prefix in self._prefixes)


def _names(names: list[str]) -> str:
    return listed(f"`{name}`" for name in names)
