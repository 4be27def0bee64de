from typing import Any

from injector.craft.adoption import Existing, adopted, already, sidecar_of
from injector.craft.placeholders import render_placeholders
from injector.reading.pods import ContainerKind, read_pod
from proxy.core.settings import Capture, Endpoint
from tests.injected_pods import EXPLICIT, TOKEN, TRANSPARENT, a_plan, container, injected
from tests.sample_pods import raw_pod, sample_pod

BOTH = frozenset({Capture.EXPLICIT, Capture.ENDPOINT})


def test_a_pod_without_the_sidecar_has_nothing_to_take_over() -> None:
    pod = sample_pod()
    assert already(pod) is None
    assert adopted(a_plan("openai"), pod) == (a_plan("openai"), ())


def test_what_was_drawn_for_a_pod_is_found_again() -> None:
    plan = a_plan("openai", capture=BOTH)
    pod = read_pod(injected(raw_pod(), plan), "ml")
    assert already(pod) == Existing(render_placeholders(plan.placeholders), TOKEN)


def test_a_sidecar_is_found_where_the_injector_puts_it_and_nowhere_else() -> None:
    assert sidecar_of(sample_pod({}, {"name": "podkey"})) is not None
    found = sidecar_of(sample_pod(initContainers=[{"name": "podkey-redirect"}, {"name": "podkey"}]))
    assert found is not None
    assert (found.kind, found.index) == (ContainerKind.INIT, 1)
    assert sidecar_of(sample_pod(ephemeralContainers=[{"name": "podkey"}])) is None
    assert already(sample_pod({"name": "podkey"})) == Existing("", "")


def test_endpoints_are_planned_for_services_that_have_them() -> None:
    pod = sample_pod()
    assert adopted(a_plan("openai", "s3", capture=BOTH), pod)[1] == (Endpoint(15101, "openai"),)
    assert adopted(a_plan("openai"), pod)[1] == ()


def test_a_capture_by_endpoints_alone_that_has_none_is_by_the_proxy() -> None:
    plan, endpoints = adopted(a_plan("s3", capture=frozenset({Capture.ENDPOINT})), sample_pod())
    assert (plan.capture, endpoints) == (EXPLICIT, ())
    assert adopted(a_plan(capture=BOTH), sample_pod())[0].capture == EXPLICIT


def test_what_the_first_call_knew_wins() -> None:
    first = a_plan(
        "openai",
        capture=BOTH,
        native=False,
        audiences=("vault", "api://x"),
        secrets=(("a", ("k", "l")), ("b", ())),
    )
    pod = read_pod(injected(raw_pod(), first), "ml")
    plan, endpoints = adopted(a_plan("s3", ports=(443,), audiences=("later",), secrets=(("c", ("x",)),)), pod)
    assert endpoints == (Endpoint(15101, "openai"),)
    assert plan.capture == BOTH
    assert not plan.native
    assert plan.endpoint_token == TOKEN
    assert plan.needs.audiences == ("vault", "api://x")
    assert plan.needs.secrets == (("a", ("k", "l")), ("b", ()))
    assert plan.needs.ports == (443,)


def test_secrets_keep_the_numbers_of_their_volumes() -> None:
    needed = tuple((f"s{number:02}", ("k",)) for number in range(12))
    raw = injected(raw_pod(), a_plan(secrets=needed))
    raw["spec"]["volumes"].sort(key=lambda volume: volume["name"])
    assert adopted(a_plan(), read_pod(raw, "ml"))[0].needs.secrets == needed


def test_a_volume_of_the_users_is_not_taken_over_for_having_a_number() -> None:
    raw = injected(raw_pod(), a_plan(secrets=(("s", ("k",)),)))
    raw["spec"]["volumes"] += [
        {"name": name, "secret": {"secretName": "mine"}}
        for name in ("0", "9" * 5000, f"podkey-secret-{'9' * 5000}")
    ]
    assert adopted(a_plan(), read_pod(raw, "ml"))[0].needs.secrets == (("s", ("k",)),)


def test_what_is_not_as_we_write_it_is_not_taken_over() -> None:
    raw: dict[str, Any] = injected(raw_pod(), a_plan("openai", capture=BOTH))
    sidecar = container(raw, "podkey")
    for entry in sidecar["env"]:
        if entry["name"] in {"PODKEY_CAPTURE", "PODKEY_ENDPOINTS", "PODKEY_ENDPOINT_TOKEN"}:
            entry["value"] = "?"
        if entry["name"] == "PODKEY_GPU":
            del entry["value"]
    raw["spec"]["volumes"] = [
        {"name": "podkey-secret-0", "emptyDir": {}},
        {"name": "podkey-secret-x", "secret": {"secretName": "s"}},
    ]
    plan, endpoints = adopted(a_plan("openai", audiences=("mine",)), read_pod(raw, "ml"))
    assert (plan.capture, plan.endpoint_token, endpoints) == (TRANSPARENT, "", ())
    assert (plan.needs.audiences, plan.needs.secrets) == (("mine",), ())
