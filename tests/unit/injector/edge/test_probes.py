import asyncio
import json

import pytest

from injector.edge.http_messages import Head, Reply
from injector.edge.probes import ProbeSite, Readiness
from tests.injector_serving_world import Client, Counts, listening, running


def site(readiness: Readiness | None = None) -> ProbeSite:
    return ProbeSite(
        readiness or Readiness(), lambda: (b"podkey_injector_up 1\n", "text/plain; version=0.0.4")
    )


def page(path: str, readiness: Readiness | None = None) -> Reply:
    head = Head("GET", path, "", "", plain=True, length=0)
    return asyncio.run(site(readiness).answer(head, b"", 0.0))


def test_it_is_ready_when_every_part_is() -> None:
    readiness = Readiness()
    for part in ("namespaces", "certificate"):
        readiness.expect(part)
    readiness.ok("namespaces")
    assert readiness.missing() == {"certificate": "pending"}
    readiness.failed("certificate", "it ended")
    readiness.expect("certificate")
    assert readiness.cold() == readiness.missing() == {"certificate": "it ended"}

    readiness.ok("certificate")
    assert not readiness.missing()


def test_while_it_drains_it_is_not_ready_and_still_answers() -> None:
    readiness = Readiness()
    readiness.draining()

    assert readiness.missing() == {"draining": "the injector is shutting down"}
    assert not readiness.cold()


def test_what_changes_is_told_once() -> None:
    told: list[dict[str, str]] = []
    readiness = Readiness(lambda: told.append(readiness.missing()))
    readiness.expect("a")
    readiness.failed("a", "why")
    readiness.failed("a", "why")
    readiness.ok("a")
    readiness.ok("a")

    assert told == [{"a": "pending"}, {"a": "why"}, {}]


def test_what_is_missing_is_listed_with_its_reason() -> None:
    readiness = Readiness()
    readiness.failed("accesspolicies", "the API server said 403")
    reply = page("/readyz", readiness)

    assert reply.status == 503
    assert json.loads(reply.body) == {
        "ready": False,
        "missing": [{"condition": "accesspolicies", "reason": "the API server said 403"}],
    }
    assert page("/readyz").status == 200


@pytest.mark.parametrize(
    ("path", "status", "begins"),
    [
        ("/", 200, b"podkey-injector "),
        ("/healthz", 200, b"ok\n"),
        ("/metrics", 200, b"podkey_injector_up 1\n"),
        ("/secret", 404, b"there are /healthz"),
    ],
)
def test_the_pages(path: str, status: int, begins: bytes) -> None:
    readiness = Readiness()
    readiness.expect("never")
    reply = page(path, readiness)

    assert reply.status == status
    assert reply.body.startswith(begins)


@pytest.mark.parametrize(
    ("method", "length", "status"), [("POST", 0, 405), ("GET", 3, 413), ("HEAD", 0, None)]
)
def test_a_probe_only_asks(method: str, length: int, status: int | None) -> None:
    reply = asyncio.run(site().admit(Head(method, "/", "", "", plain=True, length=length)))

    assert (reply and reply.status) == status


def test_it_is_served_over_plain_http() -> None:
    async def scenario() -> None:
        async with listening(site(), Counts()) as (_, port):
            client = await Client.open(port)
            for line in (b"GET /healthz HTTP/1.1", b"GET /metrics?x HTTP/1.1"):
                client.writer.write(line + b"\r\nHost: x\r\n\r\n")
                assert (await client.answer())[0] == 200
            client.writer.write(b"HEAD /healthz HTTP/1.0\r\n\r\n")
            assert (await client.ended()).endswith(b"\r\n\r\n")
            await client.close()

    running(scenario())
