import pytest

from injector.edge.http_messages import (
    MAX_BODY,
    MAX_HEAD,
    Bad,
    Head,
    Messages,
    Pause,
    Rejected,
    Reply,
    Whole,
    reply_to,
    text_reply,
)

# As an API server sends it (shared/k8s/admissionreviews/request-headers.txt).
REAL = (
    b"POST /record?timeout=5s HTTP/1.1\r\nHost: 127.0.0.1:9444\r\nUser-Agent: kube-apiserver-admission\r\n"
    b"Content-Length: 4\r\nAccept: application/json, */*\r\nContent-Type: application/json\r\n"
    b"Accept-Encoding: gzip\r\n\r\n"
)
POSTED = Head("POST", "/record", "timeout=5s", "application/json", plain=True, length=4)


def request(*fields: str, line: str = "POST /mutate HTTP/1.1") -> bytes:
    return "\r\n".join([line, "Host: x", *fields, "", ""]).encode()


def heard(data: bytes, messages: Messages | None = None) -> Head | Whole | Bad | Pause:
    messages = messages or Messages()
    messages.receive(data)
    return messages.next()


def fields_of(answer: bytes) -> tuple[str, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    return line, {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}, body


def test_a_review_comes_as_a_head_and_a_body() -> None:
    messages = Messages()

    assert messages.idle
    assert heard(REAL, messages) == POSTED
    assert messages.next() is Pause.MORE
    assert not messages.idle
    messages.receive(b"{}")
    assert messages.next() is Pause.MORE
    messages.receive(b"\n\n")
    assert messages.next() == Whole(b"{}\n\n")
    assert messages.next() is Pause.MORE


def test_after_an_answer_the_connection_goes_on() -> None:
    messages = Messages()
    for _ in range(3):
        assert heard(REAL + b"{ }\n", messages) == POSTED
        assert messages.next() == Whole(b"{ }\n")
        line, fields, body = fields_of(messages.answer(Reply(200, b'{"a":1}')))
        assert line.startswith("HTTP/1.1 200")
        assert fields == {
            "content-type": "application/json",
            "content-length": "7",
            "cache-control": "no-store",
        }
        assert body == b'{"a":1}'
        assert messages.begin_again()
        assert messages.idle


def test_a_request_that_is_there_too_early_waits_for_its_turn() -> None:
    messages = Messages()
    assert heard((REAL + b"1234") * 2, messages) == POSTED
    assert messages.next() == Whole(b"1234")
    assert messages.next() is Pause.MORE
    messages.answer(Reply(200, b""))
    assert messages.begin_again()
    assert messages.next() == POSTED
    assert messages.next() == Whole(b"1234")


def test_the_largest_head_is_read_also_with_a_body_and_another_behind_it() -> None:
    rest = len(request("Content-Length: 40000", "A: "))
    largest = request("Content-Length: 40000", f"A: {'a' * (MAX_HEAD - rest)}")
    assert len(largest) == MAX_HEAD
    messages = Messages()
    messages.receive((largest + bytes(40_000)) * 2)
    for _ in range(2):
        assert isinstance(messages.next(), Head)
        assert messages.next() == Whole(bytes(40_000))
        messages.answer(Reply(200, b""))
        assert messages.begin_again()


def test_the_last_answer_says_so() -> None:
    messages = Messages()
    heard(REAL + b"1234", messages)
    messages.next()

    assert fields_of(messages.answer(Reply(200, b""), close=True))[1]["connection"] == "close"
    assert not messages.begin_again()


def test_an_answer_before_the_body_is_the_last() -> None:
    messages = Messages()
    assert heard(REAL, messages) == POSTED
    line, fields, body = fields_of(messages.answer(text_reply(404, "no", Retry_After="1")))

    assert line.startswith("HTTP/1.1 404")
    assert fields["connection"] == "close"
    assert fields["retry-after"] == "1"
    assert body == b"no\n"
    assert not messages.begin_again()


def test_of_a_body_is_held_what_is_there_until_it_is_dropped() -> None:
    messages = Messages()
    heard(REAL + b"12", messages)

    assert messages.held == 2
    messages.drop()
    assert messages.held == 0


def test_who_waits_for_a_word_before_the_body_gets_it_once() -> None:
    messages = Messages()
    heard(request("Content-Length: 2", "Expect: 100-continue"), messages)

    assert messages.go_on().startswith(b"HTTP/1.1 100 ")
    assert messages.go_on() == b""
    messages.receive(b"{}")
    assert messages.next() == Whole(b"{}")


def test_who_does_not_wait_gets_no_word() -> None:
    messages = Messages()
    heard(REAL, messages)

    assert messages.go_on() == b""


def test_a_head_request_is_answered_without_a_body() -> None:
    messages = Messages()
    heard(request(line="HEAD /healthz HTTP/1.1"), messages)
    messages.next()
    _, fields, body = fields_of(messages.answer(text_reply(200, "ok")))

    assert (fields["content-length"], body) == ("3", b"")
    assert messages.begin_again()


def test_what_is_no_request_behind_a_head_request_is_answered_with_a_body() -> None:
    messages = Messages()
    heard(request(line="HEAD /healthz HTTP/1.1"), messages)
    messages.next()
    messages.answer(text_reply(200, "ok"))
    assert messages.begin_again()

    bad = heard(b"no request\r\n\r\n", messages)

    assert isinstance(bad, Bad)
    _, fields, body = fields_of(messages.answer(reply_to(bad)))
    assert int(fields["content-length"]) == len(body) > 0


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["Content-Type: Application/JSON; charset=utf-8"], ("application/json", True, 0)),
        (["Content-Encoding: gzip"], ("", False, 0)),
        (["content-encoding: Identity"], ("", True, 0)),
        ([f"Content-Length: {MAX_BODY}"], ("", True, MAX_BODY)),
        (["Content-Length: 7, 7"], ("", True, 7)),
    ],
)
def test_what_a_head_says(fields: list[str], expected: tuple[str, bool, int]) -> None:
    head = heard(request(*fields))

    assert isinstance(head, Head)
    assert (head.media_type, head.plain, head.length) == expected


@pytest.mark.parametrize(
    ("data", "why", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", Rejected.MALFORMED, 400),
        (b"POST /mutate\r\n\r\n", Rejected.MALFORMED, 400),
        (b"POST /a b HTTP/1.1\r\nHost: x\r\n\r\n", Rejected.MALFORMED, 400),
        (b"POST / HTTP/1.1\r\n\r\n", Rejected.MALFORMED, 400),  # no Host
        (request("Content-Length: 1", "Content-Length: 2"), Rejected.MALFORMED, 400),
        (request("Content-Length: -1"), Rejected.MALFORMED, 400),
        (request(f"Content-Length: {'9' * 30}"), Rejected.MALFORMED, 400),
        (request("Transfer-Encoding: gzip"), Rejected.MALFORMED, 400),
        (request("Transfer-Encoding: chunked"), Rejected.NO_LENGTH, 411),
        (request("Transfer-Encoding: chunked", "Content-Length: 3"), Rejected.NO_LENGTH, 411),
        (request(f"Content-Length: {MAX_BODY + 1}"), Rejected.BODY_TOO_LARGE, 413),
        (request(f"A: {'a' * MAX_HEAD}")[:-2], Rejected.HEAD_TOO_LARGE, 431),
        (request(f"A: {'a' * MAX_HEAD}"), Rejected.HEAD_TOO_LARGE, 431),
        (request(f"A: {'a' * MAX_HEAD}", "Transfer-Encoding: chunked"), Rejected.HEAD_TOO_LARGE, 431),
        (request("A b: c"), Rejected.MALFORMED, 400),
        (request("A: b\0"), Rejected.MALFORMED, 400),
    ],
)
def test_what_nobody_should_read_is_refused_for_good(data: bytes, why: Rejected, status: int) -> None:
    messages = Messages()
    bad = heard(data, messages)

    assert bad == Bad(why)
    messages.receive(REAL)
    assert messages.next() == bad
    line, fields, _ = fields_of(messages.answer(reply_to(Bad(why))))
    assert line.split()[1] == str(status)
    assert fields["connection"] == "close"
    assert not messages.begin_again()


def test_a_client_that_is_done_is_seen_between_requests_and_within_one() -> None:
    assert heard(b"") is Pause.ENDED
    for part in (REAL[:40], REAL, REAL + b"12"):
        messages = Messages()
        messages.receive(part)
        while messages.next() is not Pause.MORE:
            pass
        messages.receive(b"")
        assert messages.next() is Pause.ENDED
        messages.receive(b"")
        messages.receive(b"more")
        assert messages.next() is Pause.ENDED


def test_a_request_to_speak_another_protocol_is_answered_in_this_one() -> None:
    messages = Messages()
    assert isinstance(heard(request("Upgrade: h2c", "Connection: Upgrade"), messages), Head)
    assert messages.next() == Whole(b"")

    assert messages.answer(Reply(200, b"")).startswith(b"HTTP/1.1 200")


def test_nothing_that_was_sent_comes_back() -> None:
    marker = b"zebra"
    for data in (
        b"GET /zebra HTTP/1.1\r\nzebra: zebra\r\n\r\n",
        request("Content-Length: zebra"),
        request("Transfer-Encoding: zebra"),
    ):
        messages = Messages()
        bad = heard(data, messages)
        assert isinstance(bad, Bad)
        assert marker not in messages.answer(reply_to(bad))
