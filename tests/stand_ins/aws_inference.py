"""Amazon Bedrock and SageMaker as far as inference goes, and what STS and Secrets Manager answer.

Written from "InvokeModel", "Converse", "ConverseStream" and "InvokeModelWithResponseStream" (Amazon Bedrock
API reference), "InvokeEndpoint" (SageMaker), "GetCallerIdentity" (STS), "GetSecretValue" (Secrets Manager)
and "Event stream encoding" (Amazon Transcribe developer guide, which has it for all services). Each request
has to be signed for its service and region; botocore's signer verifies it, with the hash of its body.
"""

import json
import threading
import zlib
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote

from proxy.sources.steps import HttpReply
from tests.source_world import Request as Whole
from tests.stand_ins.aws_signatures import Keys, signer
from tests.upstream_requests import PATIENCE, Handler, Request

EVENTS: Final = "application/vnd.amazon.eventstream"
WORDS: Final = ("Hel", "lo", " there")
_STRING: Final = 7  # the type of a header's value


@dataclass
class Inference:
    """`models` and `bodies` are what was asked for. A stream sends its first event and waits for `go_on`."""

    callers: Mapping[str, Keys]
    region: str
    secret: str
    go_on: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    models: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    # Of streams: how many events have left.
    sent: int = 0

    def _verify(self, request: Whole, service: str) -> None:
        signer(request, self.callers.get, service, self.region, datetime.now(UTC))
        self.bodies.append(request.body)

    def bedrock(self, request: Whole) -> HttpReply | Handler:
        self._verify(request, "bedrock")
        _, model, operation = request.path.removeprefix("/").split("/")
        self.models.append((unquote(model), operation))
        asked = json.loads(request.body)
        message = {"role": "assistant", "content": [{"text": f"{asked['messages'][0]['role']}, hello"}]}
        match operation:
            case "invoke":
                return _json({"output": {"message": message}})
            case "converse":
                usage = {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}
                metrics = {"latencyMs": 1}
                whole = {"output": {"message": message}, "stopReason": "end_turn", "usage": usage}
                return _json({**whole, "metrics": metrics})
            case "invoke-with-response-stream":
                chunks = [b64encode(json.dumps({"word": word}).encode()).decode() for word in WORDS]
                return self._stream([("chunk", {"bytes": chunk}) for chunk in chunks])
            case "converse-stream":
                texts = [{"contentBlockIndex": 0, "delta": {"text": word}} for word in WORDS]
                deltas = [("contentBlockDelta", text) for text in texts]
                return self._stream([*deltas, ("messageStop", {"stopReason": "end_turn"})])
            case _:
                return _json({"message": operation}, 404)

    def _stream(self, events: list[tuple[str, Mapping[str, Any]]]) -> Handler:
        def handle(request: Request) -> None:
            self.sent = 0
            request.start(200, ("content-type", EVENTS))
            for number, (kind, payload) in enumerate(events):
                if number == 1 and not self.go_on.acquire(timeout=PATIENCE):
                    raise TimeoutError("nobody saw the first event")
                self.sent += 1
                request.send(event(kind, payload))
            request.end()

        return handle

    def sagemaker(self, request: Whole) -> HttpReply:
        self._verify(request, "sagemaker")
        headers = {"content-type": "text/csv", "x-amzn-invoked-production-variant": "all"}
        return HttpReply(200, headers, b"0.25")

    def sts(self, request: Whole) -> HttpReply:
        self._verify(request, "sts")
        assert (request.form | request.query)["Action"] == "GetCallerIdentity"
        body = (
            '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
            "<GetCallerIdentityResult><Arn>arn:aws:sts::111122223333:assumed-role/inference/x</Arn>"
            "<UserId>AROAEXAMPLE:x</UserId><Account>111122223333</Account></GetCallerIdentityResult>"
            "<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
        )
        return HttpReply(200, {"content-type": "text/xml"}, body.encode())

    def secrets_manager(self, request: Whole) -> HttpReply:
        self._verify(request, "secretsmanager")
        assert request.headers["x-amz-target"] == "secretsmanager.GetSecretValue"
        return _json({"Name": json.loads(request.body)["SecretId"], "SecretString": self.secret})


def event(kind: str, payload: Mapping[str, Any]) -> bytes:
    """One message of an event stream: lengths, their CRC, headers, payload, and the CRC of all."""
    named = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    headers = b"".join(
        bytes([len(name)]) + name.encode() + bytes([_STRING]) + len(value).to_bytes(2) + value.encode()
        for name, value in named.items()
    )
    data = json.dumps(payload).encode()
    lengths = (16 + len(headers) + len(data)).to_bytes(4) + len(headers).to_bytes(4)
    message = lengths + zlib.crc32(lengths).to_bytes(4) + headers + data
    return message + zlib.crc32(message).to_bytes(4)


def _json(value: Mapping[str, Any], status: int = 200) -> HttpReply:
    return HttpReply(status, {"content-type": "application/json"}, json.dumps(value).encode())
