import json
from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.core.api import BAD_ANSWER, TIMED_OUT, TOO_LARGE, ClusterFault
from injector.edge import cluster_answers as module
from injector.edge.cluster_answers import MAX_MESSAGE, WatchStream, fault_of, json_object, read_whole

CUT = ClusterFault(None, "Unreachable", "the connection is gone")
FOREVER = 1e12


class Script:
    """An answer whose bytes come as a test says."""

    def __init__(
        self, *parts: bytes | ClusterFault, status: int = 200, retry_after: str | None = None
    ) -> None:
        self.parts = deque(parts)
        self.status = status
        self.retry_after = retry_after
        self.woken = self.closed = False

    def read(self) -> bytes:
        part = self.parts.popleft() if self.parts else b""
        if isinstance(part, ClusterFault):
            raise part
        return part

    def wake(self) -> None:
        self.woken = True

    def close(self) -> None:
        self.closed = True


EVENTS = [
    {"type": "ADDED", "object": {"metadata": {"name": "ä"}}},
    {"type": "BOOKMARK", "object": {}},
    {"type": "DELETED", "object": {"text": "a\nb"}},
]
LINES = b"".join(json.dumps(event, ensure_ascii=False).encode() + b"\n" for event in EVENTS)


def events(answer: Script) -> list[Any]:
    return list(WatchStream(answer, "watch /x"))


@given(st.lists(st.integers(1, len(LINES) - 1), unique=True).map(sorted))
def test_events_are_the_same_wherever_the_bytes_are_cut(cuts: list[int]) -> None:
    parts = [LINES[start:end] for start, end in zip([0, *cuts], [*cuts, len(LINES)], strict=True)]
    answer = Script(*parts)
    assert events(answer) == EVENTS
    assert answer.closed


@given(st.integers(0, len(LINES) - 1))
def test_a_stream_that_ends_within_an_event_is_a_fault(length: int) -> None:
    answer = Script(LINES[:length])
    whole = LINES[:length].count(b"\n")
    stream = iter(WatchStream(answer, "watch /x"))
    for expected in EVENTS[:whole]:
        assert next(stream) == expected
    if LINES[:length].endswith(b"\n") or not length:
        assert next(stream, None) is None
    else:
        with pytest.raises(ClusterFault, match="ended within an event"):
            next(stream)
    assert answer.closed


def test_empty_lines_are_none() -> None:
    assert events(Script(b"\n \n" + LINES + b"\n")) == EVENTS


@pytest.mark.parametrize("line", [b"{", b"5", b"[]", b"\xff{}", b'"x"', b"[" * 100_000])
def test_a_line_that_is_no_object_is_a_fault_without_it(line: bytes) -> None:
    with pytest.raises(ClusterFault) as told:
        events(Script(line + b"\n"))
    assert told.value.reason == BAD_ANSWER
    assert told.value.message.startswith("watch /x: the answer is no JSON")


def test_an_event_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_EVENT", 100)
    answer = Script(*[b"x" * 30] * 9)
    with pytest.raises(ClusterFault) as told:
        events(answer)
    assert told.value.reason == TOO_LARGE
    assert len(answer.parts) == 5, "it was not read any further"
    assert answer.closed


def test_closing_ends_it_in_peace_whatever_the_connection_says() -> None:
    answer = Script(LINES, CUT)
    stream = WatchStream(answer, "watch /x")
    seen = []
    for event in stream:
        seen.append(event)
        answer.parts.appendleft(b'{"half')
        stream.close()
    assert seen == EVENTS
    assert answer.woken
    assert list(stream) == []


def test_a_connection_that_is_cut_in_a_read_after_closing_is_no_fault() -> None:
    answer = Script(CUT)
    stream = WatchStream(answer, "watch /x")
    read = answer.read

    def closed_meanwhile() -> bytes:
        stream.close()
        return read()

    answer.read = closed_meanwhile  # type: ignore[method-assign]
    assert list(stream) == []


def test_a_connection_that_is_cut_is_a_fault() -> None:
    with pytest.raises(ClusterFault, match="the connection is gone"):
        events(Script(LINES, CUT))


def test_an_answer_is_read_to_its_end_up_to_a_size() -> None:
    assert read_whole(Script(b"a", b"b"), "GET /x", 2, FOREVER) == b"ab"
    with pytest.raises(ClusterFault) as told:
        read_whole(Script(b"a", b"bc"), "GET /x", 2, FOREVER)
    assert told.value.reason == TOO_LARGE


def test_an_answer_that_drips_has_an_end() -> None:
    with pytest.raises(ClusterFault) as told:
        read_whole(Script(b"a", b"b"), "GET /x", 9, 0.0)
    assert told.value.reason == TIMED_OUT


# --- refusals -------------------------------------------------------------------------------------


def status(**told: object) -> bytes:
    return json.dumps({"kind": "Status", **told}).encode()


def test_a_refusal_says_what_the_server_said() -> None:
    body = status(reason="Conflict", message='Operation cannot be fulfilled on leases "l"')
    fault = fault_of(Script(body, status=409), "PATCH /l")
    assert (fault.status, fault.reason, fault.retry_after) == (409, "Conflict", None)
    assert fault.message == 'PATCH /l: 409 Conflict: Operation cannot be fulfilled on leases "l"'


@pytest.mark.parametrize(
    "causes", [[{"reason": "NamespaceTerminating"}], ["x", {"reason": "NamespaceTerminating"}]]
)
def test_a_namespace_that_is_being_deleted_is_no_missing_right(causes: list[Any]) -> None:
    body = status(reason="Forbidden", message="it is being terminated", details={"causes": causes})
    fault = fault_of(Script(body, status=403), "POST /x")
    assert fault.is_missing
    assert "grant it" not in fault.message


@pytest.mark.parametrize("details", [None, {}, {"causes": None}, {"causes": ["x", {"reason": "Other"}]}])
def test_other_causes_are_a_missing_right(details: Any) -> None:
    body = status(reason="Forbidden", message="no", details=details)
    fault = fault_of(Script(body, status=403), "POST /x")
    assert not fault.is_missing
    assert "grant it" in fault.message


def test_a_right_that_is_missing_is_named_with_what_to_do() -> None:
    said = 'accesspolicies.podkey.io is forbidden: User "x" cannot list resource "accesspolicies"'
    fault = fault_of(Script(status(reason="Forbidden", message=said), status=403), "GET /apis/…")
    assert "cannot list resource" in fault.message
    assert fault.message.endswith(
        "grant it to podkey-injector's service account, as the chart's ClusterRole does"
    )


@pytest.mark.parametrize("code", [422, 500])
def test_what_is_said_about_a_secret_is_not_repeated(code: int) -> None:
    body = status(reason="Invalid", message="data[k]: Invalid value: hunter2")
    fault = fault_of(Script(body, status=code), "PUT /api/v1/namespaces/n/secrets/ca")
    assert fault.message == f"PUT /api/v1/namespaces/n/secrets/ca: {code} Invalid"


def test_who_may_not_read_a_secret_is_told_so() -> None:
    body = status(reason="Forbidden", message='secrets "ca" is forbidden')
    fault = fault_of(Script(body, status=403), "GET /api/v1/namespaces/n/secrets/ca")
    assert 'secrets "ca" is forbidden' in fault.message


def test_a_kind_that_is_not_there_says_what_to_install() -> None:
    fault = fault_of(Script(b"404 page not found\n", status=404), "GET /apis/podkey.io/v1alpha1/x")
    assert fault.is_missing
    assert "CustomResourceDefinitions" in fault.message


@pytest.mark.parametrize(
    ("body", "code", "reason"),
    [
        (b"<html>", 502, "BadGateway"),
        (b"", 429, "TooManyRequests"),
        (b"[]", 307, "TemporaryRedirect"),
        (b"", 599, BAD_ANSWER),
        (status(reason="", message=5), 500, "InternalServerError"),
        (status(reason=5), 410, "Gone"),
    ],
)
def test_a_refusal_of_somebody_in_between_is_known_by_its_number(body: bytes, code: int, reason: str) -> None:
    fault = fault_of(Script(body, status=code), "GET /x")
    assert (fault.status, fault.reason) == (code, reason)
    assert fault.message == f"GET /x: {code} {reason}"


def test_a_refusal_that_cannot_be_read_is_one_all_the_same() -> None:
    assert fault_of(Script(CUT, status=503), "GET /x").reason == "ServiceUnavailable"


def test_a_refusal_is_one_printable_line_of_some_length() -> None:
    body = status(reason="Invalid", message="line\nbreak\x1b[31m" + "x" * 9999)
    fault = fault_of(Script(body, status=422), "PUT /x")
    assert fault.message.isprintable()
    assert len(fault.message) <= MAX_MESSAGE


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [("7", 7.0), (None, None), ("soon", None), ("-1", None), ("1.5", None), ("9" * 9, None), ("٣", None)],
)
def test_a_wish_to_be_left_in_peace_is_read(sent: str | None, seconds: float | None) -> None:
    fault = fault_of(Script(b"", status=429, retry_after=sent), "GET /x")
    assert fault.retry_after == seconds


def test_json_is_an_object() -> None:
    assert json_object(b'{"a": 1}', "GET /x") == {"a": 1}
