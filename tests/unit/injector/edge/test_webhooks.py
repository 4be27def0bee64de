import json
from datetime import UTC, datetime
from typing import Any

import pytest

from injector.core.api import ObjectKey
from injector.core.cluster import Namespace
from injector.edge.knowledge import Knowledge
from injector.edge.metrics import Metrics
from injector.edge.webhooks import GUARD, MUTATE, VALIDATE, webhooks
from injector.engine.happenings import Happening
from injector.engine.reflector import Replace, Upsert
from proxy.core.contract import API_GROUP, INJECT, POLICY_CONFIG_MAP
from proxy.services.loader import built_in_catalogue
from tests.admission_world import SETTINGS, body, first
from tests.cluster_policies import policy
from tests.injector_world import Lines
from tests.sample_pods import raw_pod

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OURS = "system:serviceaccount:podkey-system:podkey-injector"


class House:
    def __init__(self) -> None:
        self.log, self.metrics = Lines(), Metrics()
        self.told: list[Happening] = []
        self.knowledge = Knowledge(
            SETTINGS,
            built_in_catalogue(),
            self.log,
            compiled=lambda _compiled: None,
            changed=lambda _keys: None,
            unserved=lambda _name, _namespace: None,
            read_back=lambda _name: None,
        )
        there = [Namespace("ml", {INJECT: "all"}), Namespace("web", {INJECT: "enabled"})]
        self.knowledge.namespaces_changed([Replace({ObjectKey("", one.name): one for one in there})])
        self.handlers = webhooks(
            self.knowledge,
            own_account=OURS,
            choose=first,
            tell=self.told.append,
            metrics=self.metrics,
            log=self.log,
        )

    def ask(self, path: str, data: bytes) -> dict[str, Any]:
        status, answer = self.handlers[path](data, NOW)
        assert status == 200
        found: dict[str, Any] = json.loads(answer)["response"]
        return found

    def counted(self) -> list[tuple[str, ...]]:
        return sorted(key for key, value in self.metrics._reviews.values.items() if value)


@pytest.fixture
def house() -> House:
    return House()


def test_a_new_pod_gets_its_patch_and_is_told_of(house: House) -> None:
    found = house.ask(MUTATE, body(raw_pod()))
    assert found["patch"]
    assert [one.namespace for one in house.told] == ["ml"]
    assert house.counted() == [(MUTATE, "injected", "every_pod")]
    ((level, event, fields),) = house.log.said
    assert (level, event) == ("info", "a review was answered")
    assert fields["codes"] == ["every_pod", "no_policy"]
    assert fields["changed"] is True


def test_a_refused_pod_is_told_of_too(house: House) -> None:
    found = house.ask(MUTATE, body(raw_pod({"securityContext": {"privileged": True}})))
    assert not found["allowed"]
    assert len(house.told) == 1
    assert house.counted() == [(MUTATE, "refused", "privileged")]


def test_a_line_of_the_log_has_a_bounded_length_whatever_was_sent(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("injector.edge.webhooks.MAX_CODES", 2)
    long = "\x1b" + "x" * 10_000
    pod = raw_pod({"securityContext": {"privileged": True}}, shareProcessNamespace=True, hostPID=True)
    pod["metadata"]["annotations"] = {INJECT: "enabled"}
    house.ask(MUTATE, body(pod, userInfo={"username": long}, name=long))
    ((_, _, fields),) = house.log.said
    assert len(fields["codes"]) == len(set(fields["codes"])) == 2
    assert max(len(str(value)) for value in fields.values()) < 100
    assert fields["user"].startswith("\\x1bxxx")


def test_an_api_server_asks_about_namespaces_with_a_label(house: House) -> None:
    bare = Namespace("bare", {})
    house.knowledge.namespaces_changed([Upsert(ObjectKey("", "bare"), bare)])
    found = house.ask(MUTATE, body(raw_pod(), namespace="bare"))
    assert found["status"]["details"] == {"retryAfterSeconds": 1}
    assert not house.told


def test_a_dry_run_is_told_to_nobody(house: House) -> None:
    assert house.ask(MUTATE, body(raw_pod(), dryRun=True))["patch"]
    assert not house.told


def test_what_changes_nothing_is_counted_without_a_line(house: House) -> None:
    assert house.ask(MUTATE, body(raw_pod(), namespace="web"))["allowed"]
    assert house.ask(GUARD, body(raw_pod(), namespace="web"))["allowed"]
    assert house.counted() == [(GUARD, "allowed", ""), (MUTATE, "skipped", "not_needed")]
    assert not house.log.said


@pytest.mark.parametrize("path", [MUTATE, VALIDATE, GUARD])
def test_what_is_no_review_is_answered_with_a_status(house: House, path: str) -> None:
    status, answer = house.handlers[path](b"{", NOW)
    assert status == 400
    assert answer
    assert house.counted() == [(path, "failed", "")]
    assert house.log.events() == ["a review cannot be read"]


def test_a_policy_is_validated_beside_what_is_known(house: House) -> None:
    kind = {"group": API_GROUP, "version": "v1alpha1", "kind": "AccessPolicy"}
    resource = {"group": API_GROUP, "version": "v1alpha1", "resource": "accesspolicies"}
    good, bad = policy().document, policy({"hosts": ["https://x"], "credential": "one"}).document
    asked = {"kind": kind, "resource": resource}
    assert house.ask(VALIDATE, body(good, **asked))["allowed"]
    found = house.ask(VALIDATE, body(bad, **asked))
    assert not found["allowed"]
    assert "spec.grants[0]" in found["status"]["message"]
    assert house.counted() == [(VALIDATE, "allowed", ""), (VALIDATE, "refused", "")]
    assert [fields["outcome"] for _, _, fields in house.log.said] == ["allowed", "refused"], (
        "one had a warning"
    )


@pytest.mark.parametrize(("user", "allowed"), [(OURS, True), ("alice", False)])
def test_only_we_write_what_we_compile(house: House, user: str, *, allowed: bool) -> None:
    config_map = {"metadata": {"name": POLICY_CONFIG_MAP}}
    asked = {
        "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "resource": {"group": "", "version": "v1", "resource": "configmaps"},
        "operation": "UPDATE",
        "userInfo": {"username": user},
    }
    assert house.ask(GUARD, body(config_map, **asked))["allowed"] is allowed
    outcome = ("allowed", "") if allowed else ("refused", "reserved_config_map")
    assert house.counted() == [(GUARD, *outcome)]
