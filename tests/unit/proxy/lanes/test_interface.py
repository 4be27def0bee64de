import socket

from proxy.lanes.interface import Accepted
from proxy.lanes.mitm.lane import MitmproxyLane
from proxy.lanes.relay import Relay
from tests.lane_world import arrival_of


def test_a_connection_counts_as_busy_and_moving_until_its_lane_says_otherwise() -> None:
    with socket.socket() as sock:
        accepted = Accepted(sock, arrival_of(), ("192.0.2.7", 443), None)

        assert accepted.busy()
        assert accepted.idle_for() == 0.0
        assert accepted.first == b""


def test_lanes_have_different_names() -> None:
    assert Relay.name is not MitmproxyLane.name
