"""The injector's environment becomes `InjectorSettings`, or every problem at once."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import pairwise
from typing import Final

from injector.core.intent import Quantities
from injector.core.settings import (
    CertificateSettings,
    InjectorSettings,
    PodRules,
    ServingSettings,
    SidecarSettings,
)
from injector.reading import settings_table as table
from injector.reading.settled import SETTLED
from proxy.core.structs import fields
from proxy.documents import settings_table as sidecar
from proxy.documents.problems import Fault, did_you_mean
from proxy.documents.redirect_settings import read_redirect
from proxy.documents.setting_kinds import Setting
from proxy.documents.setting_values import SettingProblem
from proxy.documents.settings import REDIRECT, own_variables, read_settings

_KNOWN: Final = frozenset(setting.name for setting in table.SETTINGS)

_FREE: Final = frozenset({*REDIRECT, *(setting.name for setting in sidecar.SETTINGS)}) - SETTLED
# What any sidecar has, so that its own settings can be read.
_ANY_POD: Final = {sidecar.NAMESPACE_NAME.name: "default", sidecar.SERVICE_ACCOUNT.name: "default"}


def read_injector_settings(environment: Mapping[str, str]) -> InjectorSettings | tuple[SettingProblem, ...]:
    given = own_variables(environment)
    problems = tuple(_problems(given))
    return problems or _settings(given)


# --- problems -------------------------------------------------------------------------------------


def _problems(given: Mapping[str, str]) -> Iterator[SettingProblem]:
    for name in sorted(given.keys() - _KNOWN):
        yield SettingProblem(name, "the injector has no such setting", did_you_mean(name, _KNOWN))
    for setting in table.SETTINGS:
        try:
            setting.read(given)
        except Fault as fault:
            yield SettingProblem(setting.name, fault.message, fault.fix)
    # What single values cannot tell; a value that is wrong by itself was reported above.
    with suppress(Fault):
        yield from _sidecar_problems(dict(table.SIDECAR_ENVIRONMENT.read(given)))
    yield from _unordered_amounts(given)
    with suppress(Fault):
        port = table.ADMIN_PORT.read(given)
        if port == table.WEBHOOK_PORT.read(given):
            message = f"port {port} is given to {table.WEBHOOK_PORT.name}, too"
            yield SettingProblem(table.ADMIN_PORT.name, message, "give each listener a port of its own")
    with suppress(Fault):
        if table.EXCLUDE_CLUSTER.read(given) and not table.CLUSTER_CIDRS.read(given):
            fix = f"list the networks in {table.CLUSTER_CIDRS.name}"
            yield SettingProblem(table.EXCLUDE_CLUSTER.name, "there is no network to leave alone", fix)


def _sidecar_problems(variables: Mapping[str, str]) -> Iterator[SettingProblem]:
    """By the sidecar's own table: a mistake here would keep every pod of the cluster from starting."""
    name = table.SIDECAR_ENVIRONMENT.name
    for variable, value in variables.items():
        if variable in SETTLED:
            yield SettingProblem(name, f"the injector chooses {variable} for each pod", "remove the line")
        elif variable not in _FREE:
            yield SettingProblem(
                name, f"{variable} is no setting of the sidecar", did_you_mean(variable, _FREE)
            )
        elif "$(" in value:
            # The kubelet would put another variable's value there.
            yield SettingProblem(name, f"{variable} holds `$(`", "write the value itself")
    free = {variable: value for variable, value in variables.items() if variable in _FREE}
    found = read_settings({**_ANY_POD, **free})
    redirect = read_redirect(free)
    wrong = [*(found if isinstance(found, tuple) else ()), *(redirect if isinstance(redirect, list) else ())]
    for problem in wrong:
        yield SettingProblem(name, str(problem), problem.fix)


def _unordered_amounts(given: Mapping[str, str]) -> Iterator[SettingProblem]:
    """Requests above their limits, and defaults that no pod could ask for."""
    default = SidecarSettings(image="")
    settings = (
        (table.SIDECAR_RESOURCES_LEAST, default.least),
        (table.SIDECAR_RESOURCES, default.resources),
        (table.SIDECAR_RESOURCES_MOST, default.most),
    )
    read: list[tuple[str, dict[str, int]]] = []
    with suppress(Fault):
        for setting, otherwise in settings:
            read.append((setting.name, _amounts(_merged(setting, given, otherwise))))
        for name, amounts in read:
            for kind in ("cpu", "memory"):
                if amounts[f"{kind}_request"] > amounts[f"{kind}_limit"]:
                    message = f"it asks for more {kind} than it may use"
                    yield SettingProblem(name, message, f"raise {kind}-limit, or lower {kind}-request")
        for (low_name, low), (high_name, high) in pairwise(read):
            for kind in low:
                if low[kind] > high[kind]:
                    message = f"its {kind.replace('_', '-')} is more than that of {high_name}"
                    yield SettingProblem(low_name, message, "lower it, or raise the other")


def _merged(setting: Setting[Quantities], given: Mapping[str, str], default: Quantities) -> Quantities:
    """What is not named keeps its default."""
    read = setting.read(given)
    chosen = (getattr(read, field.name) for field in fields(Quantities))
    kept = (getattr(default, field.name) for field in fields(Quantities))
    return Quantities(*(new if new is not None else old for new, old in zip(chosen, kept, strict=True)))


def _amounts(quantities: Quantities) -> dict[str, int]:
    return {field.name: getattr(quantities, field.name) for field in fields(Quantities)}


# --- values ---------------------------------------------------------------------------------------


def _settings(given: Mapping[str, str]) -> InjectorSettings:
    image = table.IMAGE.read(given)
    default = SidecarSettings(image)
    return InjectorSettings(
        sidecar=SidecarSettings(
            image=image,
            image_pull_policy=table.IMAGE_PULL_POLICY.read(given),
            cluster=table.CLUSTER.read(given),
            environment=dict(table.SIDECAR_ENVIRONMENT.read(given)),
            resources=_merged(table.SIDECAR_RESOURCES, given, default.resources),
            least=_merged(table.SIDECAR_RESOURCES_LEAST, given, default.least),
            most=_merged(table.SIDECAR_RESOURCES_MOST, given, default.most),
            token_seconds=table.TOKEN_LIFETIME.read(given),
        ),
        pods=PodRules(
            accelerators=table.ACCELERATORS.read(given),
            on_danger=table.ON_DANGER.read(given),
            native_sidecars=table.NATIVE_SIDECARS.read(given),
            default_pod_security=table.DEFAULT_POD_SECURITY.read(given),
            cluster_cidrs=table.CLUSTER_CIDRS.read(given),
            exclude_cluster=table.EXCLUDE_CLUSTER.read(given),
            no_proxy=table.NO_PROXY.read(given),
            cluster_domain=table.CLUSTER_DOMAIN.read(given),
            own_namespace=table.NAMESPACE.read(given),
        ),
        serving=ServingSettings(
            address=table.WEBHOOK_ADDRESS.read(given),
            port=table.WEBHOOK_PORT.read(given),
            admin_address=table.ADMIN_ADDRESS.read(given),
            admin_port=table.ADMIN_PORT.read(given),
            max_concurrent=table.MAX_CONCURRENT.read(given),
            max_connections=table.MAX_CONNECTIONS.read(given),
            linger_seconds=table.LINGER.read(given),
        ),
        certificates=CertificateSettings(
            folder=table.CERTIFICATE_DIR.read(given),
            service=table.SERVICE.read(given),
            secret=table.CA_SECRET.read(given),
            mutating_webhook=table.MUTATING_WEBHOOK.read(given),
            validating_webhook=table.VALIDATING_WEBHOOK.read(given),
        ),
        identity=table.POD_NAME.read(given),
        service_account=table.SERVICE_ACCOUNT.read(given),
        resync_seconds=table.RESYNC.read(given),
        detector_seconds=table.DETECTOR_PERIOD.read(given),
        log_level=table.LOG_LEVEL.read(given),
        log_format=table.LOG_FORMAT.read(given),
    )


# --- the page -------------------------------------------------------------------------------------

_PREFACE: Final = """\
`podkey-injector serve` reads these variables. Each is an option, too: `PODKEY_INJECTOR_IMAGE` is `--image`,
and the option wins. An empty variable counts as unset. Times have a unit (`10s`, `10m`, `24h`), or are
seconds. A variable that begins with `PODKEY_` and is none of these is an error, except where Kubernetes sets
it for a Service of such a name. All problems are reported at once.""".splitlines()


def injector_settings_page() -> Iterator[str]:
    """The lines of docs/injector-settings.md, without its heading."""
    yield from _PREFACE
    for title, settings in table.SECTIONS.items():
        yield from ("", f"## {title}", "", "| variable | default | holds | |", "|---|---|---|---|")
        for setting in settings:
            default = f"`{setting.default}`" if setting.default else ""
            if setting.default is None:
                default = "**required**"
            yield f"| `{setting.name}` | {default} | {setting.kind.what} | {setting.doc} |"
    yield from ("", "## Settings of the sidecar that are not for all pods", "")
    yield "The injector chooses these for each pod:"
    yield from (f"- `{name}`" for name in sorted(SETTLED))
