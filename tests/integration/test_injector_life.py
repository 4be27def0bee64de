"""The injector's own life beside a real API server: restarts, outages, leaders, certificates, its end.

The server is these tests' own, since they take it down.
"""

import base64
import json
import signal
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from socket import create_connection
from typing import Any, Final

import pytest

from injector.edge.clock import SystemClock
from injector.engine.authority import Store, advance
from proxy.core.contract import INJECT, POLICY_CONFIG_MAP
from proxy.x509.certificates import new_key, read_certificates
from tests.api_server import MISSING, ApiServer, kubernetes
from tests.api_server_client import Object
from tests.helm_chart import MISSING as NO_HELM
from tests.helm_chart import NAMESPACE as OWN
from tests.injector_objects import (
    POLICIES,
    compiled,
    condition,
    enabled,
    events,
    has_sidecar,
    pod,
    policy,
    source,
    wait_compiled,
)
from tests.injector_process import NAME, WEBHOOK_PORT, RunningInjector, install, start
from tests.sidecar_process import wait_for

pytestmark = pytest.mark.skipif(bool(MISSING or NO_HELM), reason=MISSING or NO_HELM)

# Leases, periods of looking, a server that starts on a busy machine.
PATIENCE: Final = 60.0
CONFIGURATIONS: Final = "admissionregistration.k8s.io/v1"
MUTATING: Final = f"{CONFIGURATIONS}/mutatingwebhookconfigurations"
VALIDATING: Final = f"{CONFIGURATIONS}/validatingwebhookconfigurations"
SECRET: Final = f"{NAME}-ca"


class House:
    """A cluster with one replica at a time, and whatever others a test starts."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self._of_outages: list[str] = []
        install(server)
        self.running = self.start()

    def start(self, number: int = 0, **settings: str) -> RunningInjector:
        made = start(self.server, self.folder, number, **settings)
        try:
            made.wait_ready()
        except BaseException:
            made.kill()
            raise
        return made

    def restart(self, **settings: str) -> None:
        assert self.running.stop() == 0
        self.running = self.start(**settings)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """A server that starts refuses everybody until it has read its roles: 403 is nobody's fault then."""
        file = self.running.log_file
        before = len(file.read_text())
        try:
            yield
        finally:
            self._of_outages.append(file.read_text()[before:])

    def logs(self) -> str:
        return "".join(file.read_text() for file in sorted(self.folder.glob("*.log")))

    def refusals(self) -> list[str]:
        """What the injector was refused while the server was well."""
        text = self.logs()
        for part in self._of_outages:
            text = text.replace(part, "", 1)
        return [line for line in text.splitlines() if "orbidden" in line]

    def faults(self) -> list[str]:
        told = ("a thread failed", "in the background failed", "a review failed", "Traceback")
        return [line for line in self.logs().splitlines() if any(words in line for words in told)]

    def version(self, resource: str, name: str, namespace: str) -> str:
        found = self.server.admin.get(resource, name, namespace=namespace).object
        return str(found["metadata"]["resourceVersion"])


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("life")
    with kubernetes(folder / "server", controllers=False) as server:
        made = House(server, folder)
        try:
            yield made
        finally:
            made.running.stop()
    assert made.refusals() == [], "the chart's roles are enough"
    assert made.faults() == []


def with_policy(house: House) -> str:
    """A namespace with one policy that is in force and says so."""
    namespace = enabled(house.running)
    for one in (source(), policy("train")):
        assert house.server.admin.create(one, namespace).object
    wait_compiled(house.running, namespace, "name: train")
    wait_told(house, namespace, "train", "True InForce")
    return namespace


def wait_told(house: House, namespace: str, name: str, text: str) -> None:
    wait_for(
        lambda: condition(house.running, POLICIES, name, namespace, "Compiled") == text,
        f"{name} to be {text}",
        PATIENCE,
    )


# --- restarts -------------------------------------------------------------------------------------


def test_a_restart_writes_nothing(house: House) -> None:
    namespace = with_policy(house)
    things = ((POLICIES, "train"), ("v1/configmaps", POLICY_CONFIG_MAP))
    before = [house.version(resource, name, namespace) for resource, name in things]
    house.restart()
    # What comes later is written later.
    other = enabled(house.running)
    assert house.server.admin.create(policy("later"), other).ok
    wait_told(house, other, "later", "False LeftOut")
    wait_for(
        lambda: house.running.metric("podkey_injector_compile_total", outcome="unchanged") >= 1, "its look"
    )
    assert [house.version(resource, name, namespace) for resource, name in things] == before


def test_a_restart_keeps_what_was_in_force_and_does_not_read_any_more(house: House) -> None:
    admin = house.server.admin
    namespace = with_policy(house)
    text = compiled(house.running, namespace)
    assert house.running.stop() == 0
    # While nobody is there, and the webhook is not asked.
    assert admin.delete(VALIDATING, NAME).ok
    bad = {"spec": {"grants": [{"hosts": ["https://x"], "credential": "token"}]}}
    wait_for(lambda: admin.patch(POLICIES, "train", bad, namespace=namespace).ok, "the edit")
    install(house.server)
    house.running = house.start()
    wait_told(house, namespace, "train", "False OlderVersionInForce")
    assert compiled(house.running, namespace) == text
    wait_for(lambda: all(bundles(house, VALIDATING)), "the bundle", PATIENCE)
    wait_for(lambda: admin.create(source("another"), namespace).ok, "the webhook")
    assert "api.example.com" in wait_compiled(house.running, namespace, "name: train", "name: another")


def test_what_was_made_before_the_label_is_found(house: House) -> None:
    admin = house.server.admin
    namespace = house.server.new_namespace()
    assert admin.create(pod("old"), namespace).ok
    assert admin.patch("v1/namespaces", namespace, {"metadata": {"labels": {INJECT: "all"}}}).ok
    (event,) = wait_for(lambda: events(house.running, namespace), "the Event", PATIENCE)
    assert event["involvedObject"]["name"] == "old"
    assert event["type"] == "Warning"
    metric = "podkey_injector_uninjected_pods"
    wait_for(lambda: house.running.metric(metric, namespace=namespace) == 1, "the metric", PATIENCE)


# --- outages --------------------------------------------------------------------------------------


def test_an_outage_with_forgotten_history_leaves_caches_right(house: House) -> None:
    admin = house.server.admin
    namespace = with_policy(house)
    with house.outage():
        with house.server.down():
            assert house.running.probe("/readyz")[0] == 200, "what is known goes on to count"
            house.server.compact()
        made = wait_for(
            lambda: answer if (answer := admin.create(pod("after"), namespace)).ok else None,
            "a pod",
            PATIENCE,
        )
        assert has_sidecar(made.object)
        wait_for(lambda: admin.create(source("after"), namespace).ok, "the webhook", PATIENCE)
        wait_for(lambda: "name: after" in compiled(house.running, namespace), "the policy", PATIENCE)
        last = admin.create(pod("last"), enabled(house.running)).object
        assert has_sidecar(last), "new namespaces are seen"


def test_another_replica_leads_when_the_leader_is_killed(house: House) -> None:
    second = house.start(1)
    try:
        wait_for(lambda: "another replica leads" in second.log_file.read_text(), "the second to follow")
        assert second.metric("podkey_injector_leader") == 0
        house.running.kill()
        # No pod of it can start: the webhook's address was the other one's.
        namespace = house.server.new_namespace(labels={INJECT: "all"})
        wait_for(lambda: compiled(second, namespace), "the second to write", PATIENCE)
        assert second.metric("podkey_injector_leader") == 1
        house.running = house.start()
    finally:
        assert second.stop() == 0
    # It gave the lease back: nobody waits until it runs out.
    wait_for(lambda: house.running.metric("podkey_injector_leader") == 1, "the first to lead", 10)


# --- certificates ---------------------------------------------------------------------------------


def bundles(house: House, resource: str) -> list[bytes]:
    found = house.server.admin.get(resource, NAME).object["webhooks"]
    return [base64.b64decode(one["clientConfig"].get("caBundle", "")) for one in found]


def test_a_bundle_that_somebody_emptied_is_written_again(house: House) -> None:
    admin = house.server.admin
    namespace = enabled(house.running)
    (before,) = bundles(house, MUTATING)
    removal = [{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]
    assert admin.patch(MUTATING, NAME, removal, how="json").ok
    wait_for(lambda: bundles(house, MUTATING) == [before], "the bundle", PATIENCE)
    wait_for(lambda: admin.create(pod("after"), namespace).ok, "a pod", PATIENCE)
    verified = "podkey_injector_ca_bundle_verified"
    wait_for(lambda: house.running.metric(verified) == 1, "the metric", PATIENCE)


def secret_data(house: House) -> dict[str, bytes]:
    found = house.server.admin.get("v1/secrets", SECRET, namespace=OWN).object["data"]
    return {name: base64.b64decode(text) for name, text in found.items()}


def test_an_authority_that_is_due_is_joined_by_the_next_one(house: House) -> None:
    """The hour that they overlap is not waited for: tests/unit/injector/engine/test_authority.py does."""
    namespace = enabled(house.running)
    step = advance(None, [], SystemClock.now() - timedelta(days=300), new_key)
    assert isinstance(step, Store)
    house.running.stop()
    admin = house.server.admin
    assert admin.delete("v1/secrets", SECRET, namespace=OWN).ok
    data = {name: base64.b64encode(value).decode() for name, value in step.data.items()}
    head: Object = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}}
    assert admin.create({**head, "data": data}, OWN).ok
    house.running = house.start()
    (old,), _ = read_certificates(step.data["ca.crt"])

    def overlaps() -> bool:
        every = [*bundles(house, MUTATING), *bundles(house, VALIDATING)]
        found = [read_certificates(one)[0] for one in every]
        return all(old in certificates and len(certificates) >= 2 for certificates in found)

    wait_for(overlaps, "both in every bundle", PATIENCE)
    wait_for(lambda: "next.trusted-since" in secret_data(house), "the overlap to begin", PATIENCE)
    assert secret_data(house)["ca.crt"] == step.data["ca.crt"], "the old one signs"
    made = wait_for(
        lambda: answer if (answer := admin.create(pod("signed"), namespace)).ok else None, "a pod", PATIENCE
    )
    assert has_sidecar(made.object)


# --- its end --------------------------------------------------------------------------------------


def review(namespace: str) -> bytes:
    kind = {"group": "", "version": "v1", "kind": "Pod"}
    request: dict[str, Any] = {
        "uid": "0e2e9a53-9e5b-4f9c-8e59-2d7d3f2f3a11",
        "kind": kind,
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": namespace,
        "operation": "CREATE",
        "userInfo": {"username": "admin"},
        "object": pod("in-flight"),
        "dryRun": True,
    }
    made = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    return json.dumps(made).encode()


def test_told_to_stop_it_is_not_ready_at_once_and_answers_what_comes(house: House) -> None:
    assert house.running.stop() == 0
    running = house.running = house.start(linger="30s")
    namespace = enabled(running)
    body = review(namespace)
    context = ssl.create_default_context(cadata=secret_data(house).get("previous.crt", b"").decode())
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    head = "POST /mutate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: "
    with (
        create_connection((running.address, WEBHOOK_PORT), 10) as plain,
        context.wrap_socket(plain) as connection,
    ):
        connection.sendall(f"{head}{len(body)}\r\n\r\n".encode() + body[:100])
        wait_for(lambda: running.metric("podkey_injector_reviews_in_flight") == 1, "the review to begin")
        running.process.send_signal(signal.SIGTERM)
        wait_for(lambda: running.probe("/readyz")[0] == 503, "its readiness to end")
        # Some API server has not heard of it yet.
        assert has_sidecar(house.server.admin.create(pod("late"), namespace).object)
        running.process.send_signal(signal.SIGTERM)
        wait_for(lambda: refuses(running), "the listener to close")
        connection.sendall(body[100:])
        answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert running.process.wait(20) == 0
    house.running = house.start()


def refuses(running: RunningInjector) -> bool:
    try:
        create_connection((running.address, WEBHOOK_PORT), 5).close()
    except ConnectionRefusedError:
        return True
    return False


# --- the last, since whoever starts now waits for the overlap of six minutes ---------------------------


def test_a_lost_authority_is_made_anew_and_admission_goes_on(house: House) -> None:
    admin = house.server.admin
    namespace = enabled(house.running)
    before = secret_data(house)["ca.crt"]
    assert admin.delete("v1/secrets", SECRET, namespace=OWN).ok
    wait_for(lambda: admin.get("v1/secrets", SECRET, namespace=OWN).ok, "another Secret", PATIENCE)
    assert before in secret_data(house)["previous.crt"]
    wait_for(lambda: "next.trusted-since" in secret_data(house), "the bundle", PATIENCE)
    assert has_sidecar(admin.create(pod("after"), namespace).object)
