import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from injector.core.api import MUTATING_WEBHOOKS, SECRETS, VALIDATING_WEBHOOKS, ClusterFault
from injector.core.settings import CertificateSettings
from injector.edge.authority_keeper import IDLE_SECONDS, LOOK_SECONDS, RETRY_SECONDS, AuthorityKeeper
from injector.engine.authority import AUTHORITY_LIFETIME, OVERLAP, RETIREMENT, bundle, read_state
from proxy.x509.certificates import read_certificates
from tests.injector_world import FakeCluster, Lines, Loop, until

NAME = "podkey-injector"
MUTATING = MUTATING_WEBHOOKS.path(name=NAME)
VALIDATING = VALIDATING_WEBHOOKS.path(name=NAME)
SECRET = SECRETS.path("podkey-system", f"{NAME}-ca")
START = datetime(2030, 1, 1, tzinfo=UTC)


class House:
    def __init__(self) -> None:
        self.cluster, self.loop, self.log = FakeCluster(), Loop(), Lines()
        self.leads = True
        self.now = START
        self.verified: list[bool] = []
        self.ends: list[datetime] = []
        self.configure(MUTATING, 1)
        self.configure(VALIDATING, 3)
        self.keeper = AuthorityKeeper(
            self.cluster,  # type: ignore[arg-type]
            CertificateSettings(),
            "podkey-system",
            leads=lambda: self.leads,
            verified=self.verified.append,
            ends=self.ends.append,
            hand=self.loop.hand,
            log=self.log,
            now=lambda: self.now,
        )

    def configure(self, path: str, webhooks: int) -> None:
        """As the chart has it: without a bundle."""
        self.cluster.put(path, {"webhooks": [{"clientConfig": {"service": {}}} for _ in range(webhooks)]})

    def turn(self) -> float:
        seconds = self.keeper._turn()
        self.loop.run()
        return seconds

    def settle(self) -> None:
        """Until it only looks."""
        for _ in range(10):
            if self.turn() > 0:
                return
        raise AssertionError("it does not come to rest")

    def data(self) -> dict[str, bytes]:
        return {name: base64.b64decode(text) for name, text in self.cluster.objects[SECRET]["data"].items()}

    def bundles(self) -> list[bytes]:
        configurations = [self.cluster.objects[path] for path in (MUTATING, VALIDATING)]
        every = [one for found in configurations for one in found["webhooks"]]
        return [base64.b64decode(one["clientConfig"].get("caBundle", "")) for one in every]


@pytest.fixture
def house() -> Any:
    made = House()
    yield made
    made.keeper.stop()


def test_the_first_authority_is_stored_and_then_published_everywhere(house: House) -> None:
    assert house.turn() == 0.0
    assert not any(house.bundles())
    house.settle()
    assert house.bundles() == [bundle(read_state(house.data()), START)] * 4
    assert house.verified[-1]
    assert not any(house.verified[:-1])
    assert START + AUTHORITY_LIFETIME - timedelta(days=1) < house.ends[-1] < START + AUTHORITY_LIFETIME
    assert house.log.events() == ["podkey's authority was written", "the webhooks' bundle was written"]
    assert house.turn() == LOOK_SECONDS


def test_a_thread_does_it_as_soon_as_it_is_woken(house: House) -> None:
    house.keeper.start()
    house.loop.run_until(lambda: house.verified and house.verified[-1])
    house.configure(VALIDATING, 2)
    house.keeper.wake()
    until(lambda: all(house.bundles()), "the bundle")


def test_who_does_not_lead_asks_for_nothing(house: House) -> None:
    house.leads = False
    assert house.turn() == IDLE_SECONDS
    assert not house.cluster.calls


@pytest.mark.parametrize("text", ["", "!", "bm90IGEgY2VydGlmaWNhdGU="])
def test_a_bundle_that_somebody_spoiled_is_written_again(house: House, text: str) -> None:
    house.settle()
    before = house.bundles()
    house.cluster.objects[VALIDATING]["webhooks"][1]["clientConfig"]["caBundle"] = text
    house.settle()
    assert house.bundles() == before
    assert house.verified[-1]


def test_a_renewal_takes_its_overlap(house: House) -> None:
    house.settle()
    old = house.data()["ca.crt"]
    house.now = START + AUTHORITY_LIFETIME * 2 / 3
    house.settle()
    assert house.data()["ca.crt"] == old
    assert {len(read_certificates(one)[0]) for one in house.bundles()} == {2}
    house.now += OVERLAP
    house.settle()
    assert house.data()["ca.crt"] != old
    house.now += RETIREMENT
    house.settle()
    assert {len(read_certificates(one)[0]) for one in house.bundles()} == {1}


def test_a_lost_secret_is_made_anew_and_what_was_trusted_stays(house: House) -> None:
    house.settle()
    old = house.data()["ca.crt"]
    house.cluster.take(SECRET)
    house.settle()
    assert old in house.data()["previous.crt"]
    assert all(old in one for one in house.bundles())


def test_a_configuration_that_is_missing_does_not_hold_up_the_other(house: House) -> None:
    house.cluster.take(VALIDATING)
    house.settle()
    house.turn()
    assert base64.b64decode(house.cluster.objects[MUTATING]["webhooks"][0]["clientConfig"]["caBundle"])
    assert not any(house.verified)
    assert house.log.events("warning") == ["a webhook configuration is missing"]
    house.configure(VALIDATING, 3)
    house.settle()
    assert all(house.bundles())
    assert house.verified[-1]


def test_a_configuration_without_webhooks_is_left_alone(house: House) -> None:
    house.cluster.put(VALIDATING, {})
    house.settle()
    assert "webhooks" not in house.cluster.objects[VALIDATING]
    assert house.verified[-1]


@pytest.mark.parametrize("method", ["PATCH", "POST", "GET"])
def test_what_fails_is_said_once_and_tried_again(house: House, method: str) -> None:
    forbidden = ClusterFault(403, "Forbidden", f"{method}: 403 Forbidden")
    house.cluster.fail(method, forbidden, forbidden)
    turns = [house.turn() for _ in range(4)]
    assert turns.count(RETRY_SECONDS) == 2
    assert house.log.events("warning") == ["podkey's authority cannot be looked after"]
    house.settle()
    assert house.verified[-1]


def test_a_conflict_is_no_news(house: House) -> None:
    """Another tool writes the configuration; it is read again."""
    house.settle()
    house.cluster.objects[MUTATING]["webhooks"][0]["clientConfig"]["caBundle"] = ""

    def first(method: str, path: str) -> None:
        if method == "PATCH":
            house.cluster.before = lambda _method, _path: None
            house.cluster.put(path, {**house.cluster.objects[path], "labels": {}})

    house.cluster.before = first
    assert house.turn() == RETRY_SECONDS
    assert not house.log.events("warning")
    house.settle()
    assert all(house.bundles())


def test_a_secret_that_changed_meanwhile_is_not_overwritten(house: House) -> None:
    house.settle()
    house.now = START + AUTHORITY_LIFETIME * 2 / 3

    def first(method: str, path: str) -> None:
        if method == "PUT":
            house.cluster.before = lambda _method, _path: None
            house.cluster.put(path, house.cluster.objects[path])

    house.cluster.before = first
    before = house.data()
    assert house.turn() == RETRY_SECONDS
    assert house.data() == before


def test_a_secret_that_cannot_be_read_is_said(house: House) -> None:
    house.cluster.put(SECRET, {"data": {"ca.crt": "!"}})
    assert house.turn() == RETRY_SECONDS
    assert house.log.events("warning") == ["podkey's authority cannot be looked after"]


@pytest.mark.parametrize("before", ["the Secret", "the bundle"])
def test_leading_is_asked_for_before_each_write(house: House, before: str) -> None:
    if before == "the bundle":
        house.settle()
        house.configure(MUTATING, 1)
    calls = [method for method, _ in house.cluster.calls if method != "GET"]

    def lose(_method: str, _path: str) -> None:
        house.leads = False

    house.cluster.before = lose
    house.turn()
    assert [method for method, _ in house.cluster.calls if method != "GET"] == calls
