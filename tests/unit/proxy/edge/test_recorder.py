import pytest

from proxy.core.arrival import LaneName
from proxy.core.audit import AuditRecord, Ending, Own
from proxy.core.hosts import Hostname
from proxy.core.structs import replace
from proxy.edge.metrics import Metrics
from proxy.edge.recorder import LONG_SECONDS, MAX_KINDS, EdgeRecorder
from proxy.lanes.interface import Distrust, KernelTls, TlsPeer
from tests.lane_world import HOST, LIVE, NOON, Clock, arrival_of

RECORD = AuditRecord(
    time=NOON,
    request_id="1",
    namespace="ml",
    service_account="trainer",
    pod_name="train-0",
    pod_uid="0f3d",
    node="gpu-7",
    evidence="declared",
    host=HOST,
    port=443,
    method="GET",
    path="/v1/models",
    verdict="attach",
    reason="granted",
    lane="mitmproxy",
)


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, object]]] = []

    def info(self, event: str, **fields: object) -> None:
        self.lines.append(("info", event, fields))

    def warning(self, event: str, **fields: object) -> None:
        self.lines.append(("warning", event, fields))

    def error(self, event: str, **fields: object) -> None:
        self.lines.append(("error", event, fields))


class House:
    def __init__(self) -> None:
        self.metrics = Metrics()
        self.audited: list[AuditRecord] = []
        self.log = Log()
        self.clock = Clock()
        self.recorder = EdgeRecorder(self.metrics, self.audited.append, self.log, self.clock)

    def metric(self, start: str) -> float:
        lines = self.metrics.exposition()[0].decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(start))


@pytest.fixture
def house() -> House:
    return House()


def test_a_finished_request_is_counted_and_audited(house: House) -> None:
    record = replace(RECORD, sent_bytes=3, received_bytes=4, status=200)

    house.recorder.decided(record, 0.001)
    house.recorder.finished(record)

    assert house.audited == [record]
    assert house.metric("podkey_requests_total{") == 1
    assert house.metric("podkey_decision_duration_seconds_count") == 1
    assert house.metric('podkey_bytes_total{direction="sent",lane="mitmproxy"}') == 3
    assert house.metric('podkey_bytes_total{direction="received",lane="mitmproxy"}') == 4


def test_a_long_request_with_a_credential_is_audited_before_its_end(house: House) -> None:
    house.recorder.decided(RECORD, 0.0)
    house.recorder.tell_of_long_ones()
    assert house.audited == []

    house.clock.seconds += LONG_SECONDS
    house.recorder.tell_of_long_ones()
    house.recorder.tell_of_long_ones()
    house.recorder.finished(RECORD)

    assert [record.ending for record in house.audited] == [Ending.OPEN, Ending.COMPLETED]


def test_only_those_that_are_long_are_told_of(house: House) -> None:
    house.recorder.decided(RECORD, 0.0)
    house.clock.seconds += LONG_SECONDS / 2
    house.recorder.decided(replace(RECORD, request_id="2"), 0.0)
    house.recorder.decided(replace(RECORD, request_id="3", verdict="refuse"), 0.0)
    house.clock.seconds += LONG_SECONDS / 2

    house.recorder.tell_of_long_ones()

    assert [record.request_id for record in house.audited] == ["1"]


def test_a_request_that_is_judged_again_delays_no_line_its_own_or_anothers(house: House) -> None:
    house.recorder.decided(RECORD, 0.0)
    house.recorder.decided(replace(RECORD, request_id="2"), 0.0)
    house.clock.seconds += LONG_SECONDS / 2
    house.recorder.decided(replace(RECORD, retried=True), 0.0)
    house.clock.seconds += LONG_SECONDS / 2

    house.recorder.tell_of_long_ones()

    told = [(record.request_id, record.retried) for record in house.audited]
    assert told == [(RECORD.request_id, True), ("2", False)]


def test_a_request_that_says_the_same_is_told_of_as_if_it_had_a_record_of_its_own() -> None:
    own = Own(NOON, "other", "192.0.2.9:443", 206, 3, 4, 1, 5.5, Ending.CLIENT_GONE)
    record = replace(RECORD, static_credential_seen=True)
    told = []
    for is_short in (False, True):
        house, audited = House(), []
        house.recorder._audit = lambda record, own=None, audited=audited: audited.append(  # type: ignore[misc]
            record if own is None else record.of(own)
        )
        begun = Own(NOON, "other", "192.0.2.9:443")
        if is_short:
            house.recorder.repeated(record, begun, 0.001)
        else:
            house.recorder.decided(record.of(begun), 0.001)
        house.clock.seconds += LONG_SECONDS + 1
        house.recorder.tell_of_long_ones()
        if is_short:
            house.recorder.ended(record, own)
        else:
            house.recorder.finished(record.of(own))
        assert not house.recorder._under_way
        told.append((audited, house.log.lines, house.metrics.exposition()[0].split(b"process_")[0]))

    assert told[0] == told[1]
    assert [one.ending for one in told[0][0]] == [Ending.OPEN, Ending.CLIENT_GONE]


def test_a_finished_request_is_not_long(house: House) -> None:
    house.recorder.decided(RECORD, 0.0)
    house.recorder.finished(RECORD)
    house.clock.seconds += 2 * LONG_SECONDS

    house.recorder.tell_of_long_ones()

    assert len(house.audited) == 1


def test_a_credential_of_the_applications_own_is_an_event(house: House) -> None:
    house.recorder.decided(replace(RECORD, static_credential_seen=True), 0.0)

    ((level, event, fields),) = house.log.lines
    assert (level, fields["host"]) == ("warning", HOST)
    assert "of its own" in event


def test_connections_are_counted_by_lane_and_way(house: House) -> None:
    arrival = arrival_of(lane=LaneName.RELAY)

    house.recorder.opened(arrival)
    assert house.metric('podkey_connections_open{lane="relay"}') == 1
    house.recorder.closed(arrival, 10, 20)

    assert house.metric('podkey_connections_open{lane="relay"}') == 0
    assert house.metric('podkey_connections_total{lane="relay",way="transparent"}') == 1
    assert house.metric('podkey_bytes_total{direction="received",lane="relay"}') == 20


def test_a_handshake_is_counted_by_who_does_its_encryption(house: House) -> None:
    house.recorder.shook_hands(TlsPeer.UPSTREAM, KernelTls.NOTHING)
    house.recorder.shook_hands(TlsPeer.UPSTREAM, KernelTls.SENDS)

    assert house.metric('podkey_tls_connections_total{peer="upstream"}') == 2
    assert house.metric('podkey_tls_kernel_connections_total{direction="sent",peer="upstream"}') == 1
    assert house.metric('podkey_tls_connections_total{peer="application"}') == 0


def test_what_is_repeated_is_logged_ever_more_rarely(house: House) -> None:
    for _ in range(100):
        house.recorder.client_distrusts(HOST, Distrust.SAID)

    assert [fields["count"] for _, _, fields in house.log.lines] == [1, 2, 4, 8, 16, 32, 64]
    assert house.metric('podkey_client_tls_failures_total{sign="said"}') == 100


def test_who_only_left_is_told_of_in_other_words(house: House) -> None:
    for sign in Distrust:
        house.recorder.client_distrusts(HOST, sign)

    assert house.metric('podkey_client_tls_failures_total{sign="left"}') == 1
    said, left = (event for _, event, _ in house.log.lines)
    assert (said, "may not" in left) == ("a client does not trust this pod's authority", True)


def test_different_things_are_counted_apart(house: House) -> None:
    house.recorder.upstream_failed(HOST, "upstream_stalled")
    house.recorder.upstream_failed(HOST, "upstream_failed")
    house.recorder.upstream_failed(HOST, "upstream_failed")

    assert [fields["count"] for _, _, fields in house.log.lines] == [1, 1, 2]
    assert house.metric("podkey_upstream_failures_total") == 3


def test_what_is_remembered_of_repetitions_has_a_limit(house: House) -> None:
    for number in range(3 * MAX_KINDS):
        house.recorder.upstream_failed(HOST, f"reason-{number}")

    assert len(house.recorder._warned) <= MAX_KINDS


def test_a_request_that_was_about_to_pass_is_an_error(house: House) -> None:
    house.recorder.failed_open("mitmproxy")

    assert house.log.lines[0][0] == "error"
    assert house.metric("podkey_fail_open_total") == 1


def test_a_spent_lease_is_counted_and_told_where_the_application_saw_it(house: House) -> None:
    house.recorder.lease_spent("openai", retried=True)
    assert house.log.lines == []
    house.recorder.lease_spent("openai", retried=False)

    ((level, _, fields),) = house.log.lines
    assert (level, fields["service"]) == ("warning", "openai")
    assert house.metric('podkey_leases_spent_total{retried="true"}') == 1
    assert house.metric('podkey_leases_spent_total{retried="false"}') == 1


def test_a_clock_and_a_region_that_were_learnt_are_told(house: House) -> None:
    for seconds in (-3601.4, -3599.0, -3600.0):
        house.recorder.clock_learnt(Hostname("s3.eu-west-1.amazonaws.com"), seconds)
    house.recorder.region_learnt(Hostname("data.s3.amazonaws.com"), "eu-west-1")

    (first, _, clock), (again, _, _), (level, _, region) = house.log.lines
    assert (first, again, level) == ("warning", "warning", "info")
    assert (clock["host"], clock["minutes"]) == ("s3.eu-west-1.amazonaws.com", "-60")
    assert (region["host"], region["region"]) == ("data.s3.amazonaws.com", "eu-west-1")


def test_a_request_that_was_cut_is_told_with_its_policy(house: House) -> None:
    house.recorder.cut_by_policy(replace(RECORD, policy="ml/p", credential="ml/a"))

    ((level, _, fields),) = house.log.lines
    assert (level, fields["policy"], fields["credential"]) == ("warning", "ml/p", "ml/a")
    assert house.metric("podkey_requests_cut_total") == 1


def test_a_crash_is_handed_on_as_an_error_and_not_as_its_text(house: House) -> None:
    error = RuntimeError(LIVE)

    house.recorder.crashed("somewhere", error)

    ((level, event, fields),) = house.log.lines
    assert (level, fields) == ("error", {"where": "somewhere", "error": error})
    assert LIVE not in event


@pytest.mark.parametrize("reason", ["limit", "peer", "direct", "fenced"])
def test_connections_that_were_turned_away_are_counted(house: House, reason: str) -> None:
    house.recorder.refused_connection(reason)

    assert house.metric(f'podkey_connections_refused_total{{reason="{reason}"}}') == 1
