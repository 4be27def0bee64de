"""What is said of values: a typing mistake is refused, what contradicts itself fails with a sentence."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
import yaml

from injector.reading.settings import read_injector_settings
from tests.helm_chart import CHART, MISSING, MISSING_HELM_4, NAMESPACE, VALUES, helm4, render, values_of

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)

SCHEMA: Final = json.loads((CHART / "values.schema.json").read_text())
DEFAULTS: Final = yaml.safe_load((CHART / "values.yaml").read_text())
PINNED: Final = f"sha256:{'1' * 64}"
CLOSED: Final = {"enabled": True, "apiServerCIDRs": ["192.0.2.0/24"]}
# Everything that Python, which reads the settings, or YAML takes for one.
LINE_ENDS: Final = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"

# What is refused, and words of the sentence: what is wrong and what to do.
CONTRADICTIONS: Final[list[tuple[dict[str, Any], str]]] = [
    (
        {"injector": {"image": {"tag": "1", "digest": PINNED}}},
        "injector.image has a tag and a digest.*leave one",
    ),
    (
        {"sidecar": {"image": {"tag": "1", "digest": PINNED}}},
        "sidecar.image has a tag and a digest.*leave one",
    ),
    ({"sidecar": {"image": {"repository": "registry:5000/proxy:1"}}}, "put that into sidecar.image.tag"),
    (
        {"injector": {"image": {"repository": f"proxy@{PINNED}"}}},
        "put that into injector.image.tag or",
    ),
    ({"injector": {"minAvailable": 2}}, r"minAvailable \(2\) is not smaller.*replicas \(2\)"),
    ({"injector": {"priorityClass": {"create": True}}}, "`system-cluster-critical` cannot be its name; set"),
    ({"injector": {"priorityClass": {"create": True, "name": ""}}}, "`` cannot be its name; set"),
    ({"cluster": {"excludeFromRedirect": True}}, "cluster.cidrs.*there are none; name the networks"),
    ({"certificates": {"issuerRef": {"name": "ca"}}}, "certificates.issuer is `self`; set it"),
    ({"certificates": {"issuer": "cert-manager", "issuerRef": {"kind": "Issuer"}}}, "has no name; name the"),
    ({"networkPolicy": {"enabled": True}}, "apiServerCIDRs is empty.*name the addresses"),
    *(
        (
            {"networkPolicy": {"enabled": True, "apiServerCIDRs": ["192.0.2.0/24", every]}},
            f"CIDRs has `{every}`",
        )
        for every in ("0.0.0.0/0", "::/0")
    ),
    ({"cluster": {"cidrs": ["::/0"]}}, "cluster.cidrs has `::/0`, which is every address; name the networks"),
    ({"cluster": {"cidrs": ["0.0.0.0/0"], "excludeFromRedirect": True}}, "cidrs has `0.0.0.0/0`, which is"),
    ({"networkPolicy": {"apiServerCIDRs": ["192.0.2.0/24"]}}, "is not enabled.*set networkPolicy.enabled"),
    (
        {"networkPolicy": CLOSED, "monitoring": {"serviceMonitor": {"enabled": True}}},
        "metricsFrom is empty.*name the peers",
    ),
]
MISTYPED: Final[list[tuple[dict[str, Any], str]]] = [
    ({"injecter": {}}, "injecter"),
    ({"injector": {"replica": 3}}, "replica"),
    ({"injector": {"replicas": 0}}, "replicas"),
    ({"injector": {"image": {"pullpolicy": "Always"}}}, "pullpolicy"),
    ({"injector": {"tolerations": [{"efect": "NoSchedule"}]}}, "efect"),
    ({"injector": {"onDanger": "ignore"}}, "onDanger"),
    ({"sidecar": {"image": {"digest": "sha256:1"}}}, "digest"),
    ({"sidecar": {"settings": {"LOG_LEVEL": "debug"}}}, "LOG_LEVEL"),
    ({"sidecar": {"settings": {"PODKEY_POLICY_DIR": "/x"}}}, "PODKEY_POLICY_DIR|settings"),
    ({"certificates": {"issuer": "cert-manger"}}, "issuer"),
    ({"networkPolicy": {"metricsFrom": [{"namespaceselector": {}}]}}, "namespaceselector"),
    *(
        ({"cluster": {"cidrs": [one]}}, "cidrs")
        for one in ("10.0.0.0", "999.1.1.1/99", "10.0.0.0/33", "10.0.0/8", "::1/129", ":::/8", "1:2::3::/64")
    ),
    *(
        (
            {"sidecar": {"settings": {"PODKEY_LOG_LEVEL": f"info{end}PODKEY_MODE=observe"}}},
            "LOG_LEVEL|settings",
        )
        for end in LINE_ENDS
    ),
    ({"cluster": {"name": "west\nx"}}, "name"),
    ({"cluster": {"domain": "a\nb"}}, "domain"),
    ({"injector": {"accelerators": ["example.com/npu\nx"]}}, "accelerators"),
    ({"injector": {"image": {"repository": "a\nb"}}}, "repository"),
    ({"sidecar": {"image": {"tag": "1\n2"}}}, "tag"),
    ({"networkPolicy": {"metricsFrom": [{}]}}, "metricsFrom"),
    ({"monitoring": {"rules": {"enable": True}}}, "enable"),
    ({"imagePullSecrets": ["registry"]}, "imagePullSecrets"),
]


@pytest.mark.parametrize(("values", "sentence"), CONTRADICTIONS)
def test_what_contradicts_itself_fails_with_a_sentence(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        render(values)


@pytest.mark.parametrize("namespace", ["default", "kube-system"])
def test_it_is_not_installed_where_pods_are_to_have_sidecars(namespace: str) -> None:
    with pytest.raises(AssertionError, match=f"`{namespace}`; install it with: --namespace podkey-system"):
        render(namespace=namespace)


@pytest.mark.parametrize(("values", "word"), MISTYPED)
def test_a_mistyped_value_is_refused(values: dict[str, Any], word: str) -> None:
    with pytest.raises(AssertionError, match=word):
        render(values)


@pytest.mark.skipif(bool(MISSING_HELM_4), reason=MISSING_HELM_4)
def test_helm_4_refuses_the_same() -> None:
    (said,) = helm4("render", {"values": {}, "namespace": "default"})
    assert "`default`; install it with: --namespace podkey-system" in said["error"]
    for action, cases in (("check", MISTYPED), ("render", CONTRADICTIONS)):
        said = helm4(action, *({"values": values} for values, _ in cases))
        for (values, sentence), told in zip(cases, said, strict=True):
            assert re.search(sentence, told["error"]), values


# --- the schema says of everything what may stand there ------------------------------------------


def objects_of(schema: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield place, schema
        for key, value in schema.items():
            yield from objects_of(value, f"{place}/{key}")


def test_nothing_unknown_passes_the_schema_but_in_maps_and_selectors_of_kubernetes() -> None:
    open_ones = [place for place, one in objects_of(SCHEMA) if "additionalProperties" not in one]
    allowed = ("global", "namespaceSelector", "podSelector", "ipBlock")
    assert [place for place in open_ones if not place.endswith(allowed)] == []


def test_every_default_is_in_the_schema_and_everything_of_it_has_a_default() -> None:
    def same(schema: dict[str, Any], defaults: Any, place: str) -> None:
        if "$ref" in schema:
            schema = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]]
        known = schema.get("properties")
        # What is empty by default is the reader's to fill.
        if known and isinstance(defaults, dict) and defaults:
            assert known.keys() - {"global"} == defaults.keys(), place
            for key in defaults:
                same(known[key], defaults[key], f"{place}.{key}")

    same(SCHEMA, DEFAULTS, "")


def test_settings_that_the_injector_chooses_are_refused_by_the_schema_already() -> None:
    refused = SCHEMA["properties"]["sidecar"]["properties"]["settings"]["propertyNames"]["not"]["enum"]
    needed = {
        "PODKEY_INJECTOR_NAMESPACE": NAMESPACE,
        "PODKEY_INJECTOR_POD_NAME": "podkey-injector-0",
        "PODKEY_INJECTOR_IMAGE": "podkey/proxy:1",
    }
    page = (CHART.parents[1] / "docs" / "injector-settings.md").read_text()
    assert sorted(refused) == sorted(re.findall(r"^- `(PODKEY_\w+)`$", page, re.MULTILINE))
    for name in refused:
        told = read_injector_settings(needed | {"PODKEY_INJECTOR_SIDECAR_ENVIRONMENT": f"{name}=x"})
        assert isinstance(told, tuple), name


def test_every_value_is_explained_in_its_page() -> None:
    page = (CHART.parents[1] / "docs" / "chart.md").read_text()
    rows = re.findall(r"^\| `([\w.]+)` \|", page, re.MULTILINE)

    def leaves(values: dict[str, Any], place: str = "") -> Iterator[str]:
        for key, value in values.items():
            if isinstance(value, dict) and value and key not in {"nodeSelector", "labels"}:
                yield from leaves(value, f"{place}{key}.")
            else:
                yield f"{place}{key}"

    wanted = set(leaves(DEFAULTS))

    def is_of(leaf: str, row: str) -> bool:
        return leaf == row or leaf.startswith(f"{row}.")

    assert [leaf for leaf in wanted if not any(is_of(leaf, row) for row in rows)] == []
    assert [row for row in rows if not any(is_of(leaf, row) for leaf in wanted)] == []


@pytest.mark.parametrize("name", VALUES)
def test_every_file_of_values_says_what_it_shows(name: str) -> None:
    assert VALUES[name].read_text().startswith("# ")
    assert (name == "default") == (values_of(name) == {})
