"""Every endpoint that botocore knows, with the service and the region that its clients sign for.

From the data that botocore carries: `endpoints.json`, which lists, and each service's rules, which compute.
"""

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import botocore
from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import EndpointProviderError

_DATA = Path(botocore.__file__).parent / "data"
# The metadata stand at the beginning of a model, some of which have megabytes.
_OPENING = 1 << 14


@dataclass(frozen=True)
class Endpoint:
    host: str
    # The model, or the name in the list.
    of: str
    # None: nobody signs for it any more.
    service: str | None
    # `*`: with SigV4a, for all regions.
    region: str


def _json(path: Path) -> Any:
    return json.loads(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())


def partitions() -> list[Any]:
    found: list[Any] = _json(_DATA / "partitions.json")["partitions"]
    return found


def models() -> Iterator[tuple[Path, str, str]]:
    """Each service's newest folder, its endpoint prefix, and the name that it is signed for."""
    for folder in sorted(_DATA.iterdir()):
        found = sorted(folder.glob("*/service-2.json.gz"))
        if found:
            with gzip.open(found[-1]) as file:
                opening = file.read(_OPENING).decode(errors="replace")
            start = opening.index("{", opening.index('"metadata"'))
            metadata, _ = json.JSONDecoder().raw_decode(opening[start:])
            prefix = metadata["endpointPrefix"]
            yield found[-1].parent, prefix, metadata.get("signingName", prefix)


# --- the list ----------------------------------------------------------------------------------------


def listed() -> Iterator[Endpoint]:
    signed_as = {prefix: service for _, prefix, service in models()}
    for partition in _json(_DATA / "endpoints.json")["partitions"]:
        for of, service in partition["services"].items():
            defaults = service.get("defaults", {})
            for region, own in service["endpoints"].items():
                if own.get("deprecated"):
                    continue
                scope = defaults.get("credentialScope", {}) | own.get("credentialScope", {})
                name = scope.get("service") or signed_as.get(of)
                for host in _hosts(partition, of, region, defaults, own):
                    yield Endpoint(host, of, name, scope.get("region", region))


def _hosts(
    partition: Any, of: str, region: str, defaults: Mapping[str, Any], own: Mapping[str, Any]
) -> Iterator[str]:
    merged = partition["defaults"] | defaults | own
    yield merged["hostname"].format(service=of, region=region, dnsSuffix=partition["dnsSuffix"])
    for variant in own.get("variants", []):
        tags = set(variant["tags"])
        whole: dict[str, str] = {"dnsSuffix": partition["dnsSuffix"]}
        for level in (partition["defaults"], defaults):
            for other in level.get("variants", []):
                whole |= other if set(other["tags"]) == tags else {}
        whole |= variant
        yield whole["hostname"].format(service=of, region=region, dnsSuffix=whole["dnsSuffix"])


# --- the rules ---------------------------------------------------------------------------------------


def computed() -> Iterator[Endpoint]:
    homes = [partition["outputs"]["implicitGlobalRegion"] for partition in partitions()]
    for folder, _, service in models():
        yield from resolved(_rules(folder), service, folder.parent.name, {}, (*homes, "eu-central-1"))


def rules_of(model: str) -> Any:
    return next(_rules(folder) for folder, _, _ in models() if folder.parent.name == model)


def _rules(folder: Path) -> Any:
    return _json(folder / "endpoint-rule-set-1.json.gz")


def resolved(
    rules: Any, service: str, of: str, more: Mapping[str, object], regions: Sequence[str]
) -> Iterator[Endpoint]:
    """In these regions, and in all ways that the rules have."""
    provider = EndpointProvider(rules, {"partitions": partitions()})
    parameters = rules["parameters"]
    defaults = {name: one["default"] for name, one in parameters.items() if "default" in one}
    ways = [(False, True) if way in parameters else (False,) for way in ("UseFIPS", "UseDualStack")]
    for region, fips, dual in product(regions, *ways):
        asked = defaults | {"Region": region, "UseFIPS": fips, "UseDualStack": dual} | dict(more)
        try:
            found = provider.resolve_endpoint(**{n: value for n, value in asked.items() if n in parameters})
        except EndpointProviderError:
            continue
        schemes = found.properties.get("authSchemes", [])
        # Where both would do, clients without AWS's native runtime take the first.
        signing = [
            one for name in ("sigv4", "sigv4-s3express", "sigv4a") for one in schemes if one["name"] == name
        ]
        scheme = next(iter(signing), {})
        where = "*" if "signingRegionSet" in scheme else scheme.get("signingRegion", region)
        host = urlsplit(found.url).hostname
        if host is not None:
            yield Endpoint(host, of, scheme.get("signingName", service), where)
