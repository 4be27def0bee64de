import pytest

from proxy.core.arrival import Arrival, LaneName
from proxy.core.hosts import Hostname
from proxy.core.settings import Capture

HOST = Hostname("api.example.com")


@pytest.mark.parametrize(
    ("port", "shown"), [(443, "api.example.com"), (8443, "api.example.com:8443"), (80, "api.example.com:80")]
)
def test_an_authority_leaves_out_the_port_that_https_implies(port: int, shown: str) -> None:
    assert Arrival(HOST, port, Capture.TRANSPARENT, LaneName.FAST).shown_name == shown


def test_a_plain_connection_was_opened_for_its_name_and_has_no_prefix() -> None:
    arrival = Arrival(HOST, 443, Capture.EXPLICIT, LaneName.RELAY)

    assert (arrival.upstream, arrival.asked, arrival.path_prefix) == ("", "", "")


def test_a_prefix_that_only_this_pod_knows_is_not_printed() -> None:
    arrival = Arrival(HOST, 443, Capture.ENDPOINT, LaneName.MITMPROXY, path_prefix="/podkey-canary")

    assert "canary" not in repr(arrival)
    assert arrival != Arrival(HOST, 443, Capture.ENDPOINT, LaneName.MITMPROXY)


def test_lanes_are_spelled_as_records_spell_them() -> None:
    assert [lane.value for lane in LaneName] == ["relay", "fast", "mitmproxy"]
