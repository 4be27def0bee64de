from ipaddress import ip_network
from typing import Any

import pytest

from injector.core.intent import Intent
from injector.core.outcome import Finding
from injector.core.settings import PodRules
from injector.craft import environment as environment_module
from injector.craft.environment import PROXY_URL, TRUST_ENTRY, Variables, equip, no_proxy, variables_of
from injector.craft.jsonpatch import Editor
from injector.craft.trust_variables import JAVA_OPTIONS, TRUST_VARIABLES
from proxy.core.contract import METADATA_ADDRESSES
from proxy.core.injection_codes import InjectionCode
from proxy.core.settings import Capture, Endpoint
from tests.injected_pods import EXPLICIT, TOKEN, a_plan, environment
from tests.sample_pods import sample_pod

NOTHING = Variables({})
ALL_TRUST = {**TRUST_VARIABLES, "JAVA_TOOL_OPTIONS": JAVA_OPTIONS}


def equipped(
    container: dict[str, Any], variables: Variables = NOTHING
) -> tuple[dict[str, Any], list[Finding]]:
    pod = sample_pod(container)
    editor = Editor(pod.raw)
    findings = list(equip(editor, pod.containers[0], variables))
    found: dict[str, Any] = editor.document["spec"]["containers"][0]
    again = Editor(editor.document)
    read = sample_pod(found)
    assert list(equip(again, read.containers[0], variables)) == findings
    assert again.operations == ()
    return found, findings


def env(*pairs: tuple[str, Any]) -> dict[str, Any]:
    entries = [{"name": n, "value": v} if isinstance(v, str) else {"name": n, **v} for n, v in pairs]
    return {"env": entries}


FROM_SECRET = {"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
PROXY_NAMES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy")
ENV_FROM = {"envFrom": [{"secretRef": {"name": "keys"}}]}


# --- what every pod's containers get ----------------------------------------------------------------


def test_a_container_without_anything_gets_mount_and_trust() -> None:
    found, findings = equipped({})
    assert environment(found) == ALL_TRUST
    assert found["volumeMounts"] == [
        {"name": "podkey-trust", "mountPath": "/etc/podkey/ca", "readOnly": True}
    ]
    assert findings == []


def test_what_the_user_wrote_stays_where_and_as_it_is() -> None:
    theirs = env(("A", "1"), ("A", "2"), ("EMPTY", {}))["env"]
    found, _ = equipped({"env": theirs, "volumeMounts": [{"name": "d", "mountPath": "/d"}]})
    assert found["env"][:3] == theirs
    assert found["volumeMounts"][0] == {"name": "d", "mountPath": "/d"}


def test_a_trust_variable_of_the_user_is_kept_and_told() -> None:
    found, findings = equipped(
        env(("SSL_CERT_FILE", "/mine"), ("PIP_CERT", FROM_SECRET), ("CURL_CA_BUNDLE", {}))
    )
    assert environment(found)["SSL_CERT_FILE"] == "/mine"
    assert [one["name"] for one in found["env"]].count("PIP_CERT") == 1
    (finding,) = findings
    assert finding.code is InjectionCode.VARIABLE_KEPT
    assert finding.message == (
        "container `app` sets `SSL_CERT_FILE`, `CURL_CA_BUNDLE`, `PIP_CERT` itself, and keeps it"
    )


def test_a_variable_that_says_what_ours_would_say_is_no_matter() -> None:
    _, findings = equipped(env(("SSL_CERT_FILE", TRUST_VARIABLES["SSL_CERT_FILE"])))
    assert findings == []


# --- the short way -----------------------------------------------------------------------------------

EVERYTHING = Variables(
    {"OPENAI_API_KEY": "$(A)", "SSL_CERT_FILE": "/theirs", "NO_PROXY": "x", "JAVA_TOOL_OPTIONS": "-Da"},
    no_proxy="localhost",
)


@pytest.mark.parametrize("variables", [NOTHING, Variables({"A": "$(B)"}), EVERYTHING])
def test_what_a_container_without_any_of_them_gets_is_what_the_long_way_gives(variables: Variables) -> None:
    container = sample_pod(env(("THEIRS", "1"))).containers[0]
    assert variables.are_new_to(container)
    draft = environment_module._Draft(container, variables)
    found = [(entry["name"], entry["value"]) for entry in variables.entries]
    assert found == [(name, value.replace("$(", "$$(")) for name, value in draft.added.items()]
    assert not list(draft.findings())


LOOKED_AT = [*ALL_TRUST, *PROXY_NAMES, "OPENAI_API_KEY"]


@pytest.mark.parametrize("container", [*(env((name, "x")) for name in LOOKED_AT), ENV_FROM])
def test_one_that_sets_any_of_them_or_could_goes_the_long_way(container: dict[str, Any]) -> None:
    assert not EVERYTHING.are_new_to(sample_pod(container).containers[0])


def test_a_proxy_of_the_user_is_nobodys_matter_where_there_is_none_of_ours() -> None:
    container = sample_pod(env(*((name, "x") for name in PROXY_NAMES))).containers[0]
    assert NOTHING.are_new_to(container)


# --- Java --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("-Xmx4g", f"-Xmx4g {JAVA_OPTIONS}"),
        ("", JAVA_OPTIONS),
        ({}, JAVA_OPTIONS),
        (f"{JAVA_OPTIONS} -Xmx4g", f"{JAVA_OPTIONS} -Xmx4g"),
    ],
)
def test_javas_options_are_appended(entry: Any, value: str) -> None:
    found, findings = equipped(env(("JAVA_TOOL_OPTIONS", entry)))
    assert environment(found)["JAVA_TOOL_OPTIONS"] == value
    assert findings == []


def test_javas_options_go_to_the_entry_that_counts() -> None:
    found, _ = equipped(env(("JAVA_TOOL_OPTIONS", "-Da"), ("X", "1"), ("JAVA_TOOL_OPTIONS", "-Da")))
    assert [one["value"] for one in found["env"][:3]] == ["-Da", "1", f"-Da {JAVA_OPTIONS}"]


@pytest.mark.parametrize("entry", [FROM_SECRET, "-Djavax.net.ssl.trustStore=/mine"])
def test_a_trust_store_of_the_user_stays(entry: Any) -> None:
    found, findings = equipped(env(("JAVA_TOOL_OPTIONS", entry)))
    assert found["env"][0] == env(("JAVA_TOOL_OPTIONS", entry))["env"][0]
    assert [finding.code for finding in findings] == [InjectionCode.VARIABLE_KEPT]


# --- what is not seen ----------------------------------------------------------------------------------


def test_beside_env_from_trust_comes_from_the_config_map_in_front() -> None:
    found, findings = equipped(ENV_FROM)
    assert found["envFrom"] == [TRUST_ENTRY, *ENV_FROM["envFrom"]]
    assert "env" not in found
    assert findings == []


def test_what_the_user_has_in_env_does_not_come_from_elsewhere() -> None:
    found, _ = equipped({**ENV_FROM, **env(*ALL_TRUST.items())})
    assert found["envFrom"] == ENV_FROM["envFrom"]


def test_an_entry_with_a_prefix_hides_only_what_begins_with_it() -> None:
    hidden = {"envFrom": [{"prefix": "GIT_", "configMapRef": {"name": "c"}}]}
    found, _ = equipped(hidden)
    assert found["envFrom"][0] == TRUST_ENTRY
    assert environment(found).keys() == ALL_TRUST.keys() - {"GIT_SSL_CAINFO"}
    found, _ = equipped({"envFrom": [{"prefix": "CFG_", "configMapRef": {"name": "c"}}]})
    assert environment(found) == ALL_TRUST
    assert len(found["envFrom"]) == 1


def test_our_config_map_alone_hides_nothing() -> None:
    found, _ = equipped({"envFrom": [{**TRUST_ENTRY, "prefix": ""}]})
    assert environment(found) == ALL_TRUST


def test_placeholders_that_could_be_overwritten_are_left_out_and_told() -> None:
    variables = Variables({"OPENAI_API_KEY": "p" * 9}, no_proxy="localhost")
    found, findings = equipped(ENV_FROM, variables)
    assert "env" not in found
    (finding,) = findings
    assert finding.code is InjectionCode.VARIABLES_UNSEEN
    assert "`OPENAI_API_KEY`, `HTTPS_PROXY`, `https_proxy`" in finding.message
    assert "placeholders-beside-env-from" in finding.fix


def test_the_user_can_say_that_they_are_not_in_there() -> None:
    variables = Variables({"OPENAI_API_KEY": "p" * 9}, no_proxy="localhost", beside_env_from=True)
    found, findings = equipped(ENV_FROM, variables)
    assert environment(found).keys() == {
        "OPENAI_API_KEY",
        "HTTPS_PROXY",
        "https_proxy",
        "http_proxy",
        "NO_PROXY",
        "no_proxy",
    }
    assert findings == []


# --- placeholders and base URLs ------------------------------------------------------------------------


def test_placeholders_are_set_where_the_user_set_none() -> None:
    variables = Variables({"HF_TOKEN": "hf_x", "OPENAI_API_KEY": "sk-x"})
    found, findings = equipped(env(("OPENAI_API_KEY", FROM_SECRET)), variables)
    assert environment(found)["HF_TOKEN"] == "hf_x"
    assert found["env"][0] == {"name": "OPENAI_API_KEY", **FROM_SECRET}
    assert [finding.code for finding in findings] == [InjectionCode.VARIABLE_KEPT]
    assert "OPENAI_API_KEY" in findings[0].message


def test_the_kubelet_does_not_expand_what_we_write() -> None:
    found, _ = equipped({}, Variables({"X": "a$(HOME)b"}))
    assert environment(found)["X"] == "a$$(HOME)b"


def test_variables_are_placeholders_and_the_urls_of_endpoints() -> None:
    plan = a_plan("openai", "s3", capture=frozenset({Capture.ENDPOINT}))
    variables = variables_of(plan, (Endpoint(15101, "openai"),), PodRules())
    assert variables.service.keys() == {"OPENAI_BASE_URL", *plan.placeholders}
    assert variables.service["OPENAI_BASE_URL"] == f"http://127.0.0.1:15101/podkey-{TOKEN}/v1"
    assert variables.no_proxy == ""
    assert not variables.beside_env_from
    assert variables_of(
        a_plan(intent=Intent(placeholders_beside_env_from=True)), (), PodRules()
    ).beside_env_from


# --- the explicit proxy --------------------------------------------------------------------------------


PROXIES = {
    "HTTPS_PROXY": PROXY_URL,
    "https_proxy": PROXY_URL,
    "http_proxy": PROXY_URL,
    "NO_PROXY": "localhost",
    "no_proxy": "localhost",
}


def proxies(*pairs: tuple[str, Any]) -> tuple[dict[str, Any], list[Finding]]:
    found, findings = equipped(env(*pairs, *ALL_TRUST.items()), Variables({}, no_proxy="localhost"))
    return {n: v for n, v in environment(found).items() if n not in ALL_TRUST}, findings


def test_an_explicit_pod_gets_the_proxy_in_the_spellings_that_programs_read() -> None:
    assert proxies() == (PROXIES, [])


@pytest.mark.parametrize(
    ("theirs", "added"),
    [
        # Programs differ in which spelling they look at first: one of the user's is enough.
        ({"https_proxy": "http://corp:1"}, {}),
        ({"HTTPS_PROXY": ""}, {}),
        ({"HTTP_PROXY": "http://corp:1"}, PROXIES.keys() - {"http_proxy"}),
        ({"no_proxy": "*"}, PROXIES.keys() - {"NO_PROXY", "no_proxy"}),
    ],
)
def test_a_proxy_of_the_user_is_kept_and_told(theirs: dict[str, str], added: Any) -> None:
    found, findings = proxies(*theirs.items())
    assert found == {**theirs, **{name: PROXIES[name] for name in added}}
    assert [finding.code for finding in findings] == [InjectionCode.PROXY_KEPT]
    assert next(iter(theirs)) in findings[0].message


def test_half_of_a_pair_that_is_ours_is_completed() -> None:
    assert proxies(("https_proxy", PROXY_URL)) == (PROXIES, [])


def test_what_is_inside_the_cluster_does_not_take_the_proxy() -> None:
    rules = PodRules(
        cluster_cidrs=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")),
        no_proxy=("registry.corp.test", "localhost"),
        cluster_domain="prod.example",
    )
    names = no_proxy(rules).split(",")
    assert names[:3] == ["localhost", "127.0.0.1", "::1"]
    assert set(METADATA_ADDRESSES) <= set(names)
    assert names[-6:] == [
        ".svc",
        ".prod.example",
        "kubernetes.default",
        "10.0.0.0/8",
        "fd00::/8",
        "registry.corp.test",
    ]
    assert len(names) == len(set(names))
    assert variables_of(a_plan(capture=EXPLICIT), (), rules).no_proxy == no_proxy(rules)
