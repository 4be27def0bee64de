from collections.abc import Callable
from typing import Any

import pytest

from injector.core.outcome import Refuse
from injector.craft.coverage import MAX_FAULTS
from proxy.core.injection_codes import InjectionCode
from tests.injected_pods import a_plan, container, defaulted, injected, try_inject
from tests.sample_pods import raw_pod

PLAN = a_plan("openai", secrets=(("keys", ("openai",)),))


def ours() -> dict[str, Any]:
    return defaulted(injected(raw_pod(), PLAN))


def refused(pod: dict[str, Any]) -> list[str]:
    outcome = try_inject(pod, PLAN)
    if not isinstance(outcome, Refuse):
        assert outcome.patch == ()
        return []
    assert {finding.code for finding in outcome.reasons} <= {
        InjectionCode.RESERVED_CONTAINER,
        InjectionCode.RESERVED_VOLUME,
    }
    assert all(finding.fix for finding in outcome.reasons)
    return [finding.message for finding in outcome.reasons]


def with_env(name: str, value: str = "x") -> Callable[[dict[str, Any]], None]:
    return lambda one: one["env"].append({"name": name, "value": value})


def with_mount(path: str) -> Callable[[dict[str, Any]], None]:
    return lambda one: one["volumeMounts"].append({"name": "v", "mountPath": path})


def with_field(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda one: one.update({name: value})


def change(one: dict[str, Any], *path: Any, value: Any) -> None:
    for key in path[:-1]:
        one = one[key]
    one[path[-1]] = value


def changed(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda one: change(one, *path, value=value)


# --- what others may do to our containers ------------------------------------------------------------


@pytest.mark.parametrize(
    "edit",
    [
        with_env("DD_AGENT_HOST"),
        with_env("AWS_ROLE_ARN"),
        with_env("KUBERNETES_SERVICE_HOST"),
        with_env("AZURE_FEDERATED_TOKEN_FILE"),
        with_env("GOOGLE_APPLICATION_CREDENTIALS"),
        with_env("OTEL_EXPORTER_OTLP_ENDPOINT"),
        with_env("NODE_IP"),
        with_env("HOST_IP"),
        with_env("TZ", "Europe/Vienna"),
        with_env("LC_ALL", "C.UTF-8"),
        with_mount("/var/run/secrets/eks.amazonaws.com/serviceaccount"),
        with_mount("/run/secrets/azure/tokens"),
        with_field("resources", {"limits": {"cpu": "3"}}),
        with_field("resources", {}),
        with_field(
            "resources", {"requests": {"ephemeral-storage": "1Gi"}, "limits": {"hugepages-2Mi": "4Mi"}}
        ),
        # AlwaysPullImages.
        with_field("imagePullPolicy", "Always"),
        with_field("resizePolicy", [{"resourceName": "cpu", "restartPolicy": "NotRequired"}]),
        with_field("terminationMessagePolicy", "File"),
        # Go writes what nobody has set.
        with_field("args", []),
        with_field("lifecycle", None),
        with_field("stdin", value=False),
        changed("securityContext", "procMount", value="Default"),
        changed("securityContext", "privileged", value=False),
        changed("startupProbe", "successThreshold", value=1),
        changed("livenessProbe", "terminationGracePeriodSeconds", value=30),
        changed("volumeMounts", 0, "mountPropagation", value="None"),
        changed("volumeMounts", 0, "recursiveReadOnly", value="Disabled"),
        changed("ports", 0, "hostPort", value=0),
    ],
)
def test_what_does_no_harm_is_let_pass(edit: Callable[[dict[str, Any]], None]) -> None:
    pod = ours()
    edit(container(pod, "podkey"))
    assert refused(pod) == []


# --- and what not ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (
            with_field("image", "evil.test/podkey:1"),
            '.image of `podkey` is `"evil.test/podkey:1"`, and podkey',
        ),
        (with_field("command", ["sh"]), ".command of"),
        (changed("command", 1, value="dev"), ".command[1] of"),
        (with_field("args", ["--help"]), ".args of"),
        (with_field("lifecycle", {"postStart": {"exec": {"command": ["sh"]}}}), ".lifecycle of"),
        (with_field("readinessProbe", {"exec": {"command": ["sh"]}}), ".readinessProbe of"),
        (with_field("envFrom", [{"secretRef": {"name": "s"}}]), ".envFrom of"),
        (with_field("workingDir", "/x"), ".workingDir of"),
        (with_field("tty", value=True), ".tty of"),
        (with_field("volumeDevices", [{"name": "b"}]), ".volumeDevices of"),
        (with_field("restartPolicy", "Never"), ".restartPolicy of"),
        (with_field("terminationMessagePath", "/var/run/podkey/state/x"), ".terminationMessagePath of"),
        (with_field("terminationMessagePolicy", "FallbackToLogsOnError"), ".terminationMessagePolicy of"),
        (with_field("imagePullPolicy", "Never"), '.imagePullPolicy of `podkey` is `"Never"`, and podkey'),
        (with_field("imagePullPolicy", None), ".imagePullPolicy of `podkey` is nothing"),
        (
            with_field("resources", {"claims": [{"name": "gpu"}]}),
            '.resources.claims of `podkey` is `["gpu"]`, and podkey writes nothing',
        ),
        (
            with_field("resources", {"limits": {"cpu": "1", "nvidia.com/gpu": "8"}}),
            '.resources.limits[`nvidia.com/gpu`] of `podkey` is `"8"`',
        ),
        (
            with_field("resources", {"requests": {"xcpu": 1}}),
            ".resources.requests[`xcpu`] of `podkey` is `1`",
        ),
        (changed("securityContext", "runAsUser", value=0), ".securityContext.runAsUser of"),
        (changed("securityContext", "allowPrivilegeEscalation", value=0), ".allowPrivilegeEscalation of"),
        (changed("securityContext", "privileged", value=True), ".securityContext.privileged of"),
        (changed("securityContext", "capabilities", value={"drop": []}), ".capabilities.drop of"),
        (changed("securityContext", "procMount", value="Unmasked"), ".procMount of"),
        (with_field("securityContext", None), ".securityContext of `podkey` is nothing, and podkey"),
        (changed("startupProbe", "exec", value={"command": ["sh"]}), ".startupProbe.exec of"),
        (changed("startupProbe", "failureThreshold", value=1), ".startupProbe.failureThreshold of"),
        (changed("ports", 0, "hostPort", value=15020), ".ports[0].hostPort of"),
        (with_field("ports", []), ".ports of"),
        (with_env("PODKEY_LOG_LEVEL"), ".env[`PODKEY_LOG_LEVEL`] of"),
        (with_env("LD_PRELOAD"), ".env[`LD_PRELOAD`] of"),
        (with_env("PYTHONPATH"), ".env[`PYTHONPATH`] of"),
        (with_env("SSL_CERT_FILE"), ".env[`SSL_CERT_FILE`] of"),
        (with_env("https_proxy"), ".env[`https_proxy`] of"),
        (with_env("PATH"), ".env[`PATH`] of"),
        (with_env("PODKEY_NAMESPACE"), ".env[`PODKEY_NAMESPACE`].valueFrom of"),
        (with_env("PODKEY_GPU", "yes"), ".env[`PODKEY_GPU`].value of"),
        (with_env("PODKEY_LABELS_FILE", "/tmp/labels"), ".env[`PODKEY_LABELS_FILE`].value of"),
        (lambda one: one["env"].pop(), ".env[`PODKEY_PLACEHOLDERS_FILE`] of `podkey` is nothing"),
        (with_mount("/etc/podkey/policy/x"), ".volumeMounts[`/etc/podkey/policy/x`] of"),
        (with_mount("/run/secrets/../podkey"), ".volumeMounts[`/run/secrets/../podkey`] of"),
        (changed("volumeMounts", 0, "subPath", value="x"), ".subPath of"),
        (changed("volumeMounts", 0, "name", value="other"), ".name of"),
        (changed("volumeMounts", 3, "readOnly", value=True), ".readOnly of"),
        (
            lambda one: one["volumeMounts"].pop(0),
            ".volumeMounts[`/etc/podkey/policy`] of `podkey` is nothing",
        ),
    ],
)
def test_what_could_make_another_program_of_it_is_refused(
    edit: Callable[[dict[str, Any]], object], words: str
) -> None:
    pod = ours()
    edit(container(pod, "podkey"))
    messages = refused(pod)
    assert len(messages) == 1
    assert messages[0].startswith("spec.initContainers[1].")
    assert words in messages[0]


@pytest.mark.parametrize(
    "name",
    [
        *("RESOLV_HOST_CONF", "RESOLV_MULTI", "RES_OPTIONS", "LOCALDOMAIN", "HOSTALIASES", "NSS_WRAPPER"),
        *(
            "MITMPROXY_SSLKEYLOGFILE",
            "SSLKEYLOGFILE",
            "QLOGDIR",
            "CTLOG_FILE",
            "OSSL_QFILTER",
            "OPENSSL_CONF",
        ),
        *("PROMETHEUS_MULTIPROC_DIR", "NVIDIA_VISIBLE_DEVICES", "XDG_CONFIG_HOME", "MIMALLOC_VERBOSE"),
        *("JAVA_TOOL_OPTIONS", "COVERAGE_PROCESS_START", "LD_AUDIT", "GLIBC_TUNABLES", "LOCPATH", "LANGUAGE"),
        *("aws_role_arn", "MY_AWS_ROLE", "AWS_", "DD", "TZDIR", "NODE_\u0130", "AWS_X\n", ""),
    ],
)
def test_a_variable_that_no_known_webhook_adds_is_refused_by_its_name(name: str) -> None:
    pod = ours()
    with_env(name)(container(pod, "podkey"))
    (message,) = refused(pod)
    assert message.startswith("spec.initContainers[1].env[`")
    assert message.endswith('of `podkey` is `"x"`, and podkey writes nothing')


def test_a_variable_of_others_without_a_value_is_not_called_nothing() -> None:
    pod = ours()
    container(pod, "podkey")["env"].append({"name": "LD_A"})
    assert refused(pod) == [
        'spec.initContainers[1].env[`LD_A`] of `podkey` is `""`, and podkey writes nothing'
    ]


def test_a_variable_that_stands_twice_is_judged_twice() -> None:
    pod = ours()
    with_env("PODKEY_CAPTURE", "transparent")(container(pod, "podkey"))
    assert refused(pod) == []


def test_a_variable_without_a_name_is_no_known_webhooks() -> None:
    pod = ours()
    container(pod, "podkey")["env"].append({"value": "x"})
    assert len(refused(pod)) == 1


@pytest.mark.parametrize(("many", "told"), [(15, 15), (16, 16), (17, 17), (20_000, 17)])
def test_of_what_a_forged_container_has_the_first_is_told_and_that_there_is_more(
    many: int, told: int
) -> None:
    pod = ours()
    container(pod, "podkey")["env"] += [{"name": "LD_A"}] * many
    messages = refused(pod)
    assert len(messages) == told
    assert (messages[-1] == "and more in spec.initContainers[1]") is (many > MAX_FAULTS)


def test_of_forged_volumes_the_first_are_told_and_that_there_are_more() -> None:
    pod = ours()
    pod["spec"]["volumes"] += [
        {"name": f"podkey-secret-{number}", "emptyDir": {}} for number in range(1, 900)
    ]
    messages = refused(pod)
    assert len(messages) == MAX_FAULTS + 1
    assert messages[-1] == "and more in spec.volumes"


def test_the_redirect_is_judged_alike() -> None:
    pod = ours()
    container(pod, "podkey-redirect")["securityContext"]["capabilities"]["add"].append("SYS_ADMIN")
    (message,) = refused(pod)
    assert message == (
        'spec.initContainers[0].securityContext.capabilities.add of `podkey-redirect` is `["NET_ADMIN", '
        '"SYS_ADMIN"]`, and podkey writes `["NET_ADMIN"]`'
    )


def test_a_long_value_is_not_shown_whole() -> None:
    pod = ours()
    with_env("PYTHONSTARTUP", "k" * 100)(container(pod, "podkey"))
    assert refused(pod)[0].endswith(f'is `"{"k" * 63}…`, and podkey writes nothing')


# --- volumes ---------------------------------------------------------------------------------------------


def volume(pod: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in pod["spec"]["volumes"] if one["name"] == name)
    return found


@pytest.mark.parametrize(
    ("name", "path", "value", "words"),
    [
        ("podkey-state", ("emptyDir", "medium"), "", ".emptyDir.medium of `podkey-state`"),
        ("podkey-state", ("hostPath",), {"path": "/x"}, ".hostPath of"),
        ("podkey-policy", ("configMap", "name"), "mine", ".configMap.name of"),
        ("podkey-policy", ("configMap", "items"), [{"key": "a"}], ".configMap.items of"),
        ("podkey-tokens", ("projected", "sources"), [], ".projected.sources of"),
        ("podkey-pod", ("downwardAPI", "items", 0, "path"), "x", ".downwardAPI.items[0].path of"),
        ("podkey-secret-0", ("secret", "defaultMode"), 0o777, ".secret.defaultMode of"),
        ("podkey-trust", ("emptyDir",), None, ".emptyDir of `podkey-trust` is nothing"),
    ],
)
def test_a_volume_that_is_not_as_we_write_it_is_refused(
    name: str, path: tuple[Any, ...], value: Any, words: str
) -> None:
    pod = ours()
    change(volume(pod, name), *path, value=value)
    (message,) = refused(pod)
    assert words in message


def test_a_volume_may_have_modes_that_the_api_server_fills_in() -> None:
    pod = ours()
    volume(pod, "podkey-tokens")["projected"]["defaultMode"] = 0o640
    assert refused(pod) == []


def test_what_has_our_name_and_should_not_be_there_is_refused() -> None:
    pod = ours()
    # The sidecar says that it captures in another way, so there is no redirect.
    for entry in container(pod, "podkey")["env"]:
        if entry["name"] == "PODKEY_CAPTURE":
            entry["value"] = "explicit"
    pod["spec"]["volumes"].append({"name": "podkey-secret-8", "emptyDir": {}})
    messages = refused(pod)
    assert (
        messages[0] == "spec.initContainers[0] is called `podkey-redirect`, and podkey has none in this pod"
    )
    assert "`podkey-secret-8`" in messages[-1]
