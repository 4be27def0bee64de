import json
import re
import warnings
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import botocore.session
import httpx2
import openai
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError
from huggingface_hub.errors import BadRequestError, HfHubHTTPError
from huggingface_hub.utils import hf_raise_for_status
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.contract import REASON_HEADER
from proxy.core.reason_pages import REASONS
from proxy.core.reasons import Reason
from proxy.core.services import Dialect
from proxy.core.verdict import RuleRef
from proxy.transaction.refusals import (
    MAX_MESSAGE_BYTES,
    OwnAnswer,
    Refusal,
    presentable,
    render_refusal,
)

MESSAGE = (
    "podkey refused GET https://api.acme.example/v1/<models>: no pattern in `paths` matches. "
    "Nearest grant: ml/trainer grants[0]. More: podkey reasons path_not_granted"
)
RULE = RuleRef("ml", "trainer", 0)
HOSTILE = "a\r\nSet-Cookie: x=1\x00\x1b[31m\u202e]]></Message><Code>\"&' é 漢 \ud800 \uffff"
GIVES_UP = (Reason.CREDENTIAL_UNUSABLE, Reason.UPSTREAM_UNVERIFIED)


def refusal(
    reason: Reason = Reason.PATH_NOT_GRANTED,
    dialect: Dialect = Dialect.PLAIN_JSON,
    message: str = MESSAGE,
    rule: RuleRef | None = None,
    *,
    is_grpc: bool = False,
    is_head: bool = False,
) -> Refusal:
    return Refusal(reason, message, rule, dialect, is_grpc, is_head, "req-0001")


def headers_of(answer: OwnAnswer) -> dict[str, str]:
    headers = dict(answer.headers)
    assert len(headers) == len(answer.headers)
    return headers


def body_of(answer: OwnAnswer) -> Any:
    return json.loads(answer.body)


def message_of(answer: OwnAnswer) -> Any:
    """Where the dialects of JSON have it."""
    body = body_of(answer)
    if "errors" in body:
        return body["errors"][0]["message"]
    error = body.get("error", body)
    return error if isinstance(error, str) else error["message"]


# --- in every dialect --------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_an_answer_in_every_dialect(reason: Reason, dialect: Dialect) -> None:
    answer = render_refusal(refusal(reason, dialect))
    headers = headers_of(answer)
    assert answer.status == REASONS[reason].status
    assert headers[REASON_HEADER] == reason.value
    assert headers["cache-control"] == "no-store"
    assert headers["content-length"] == str(len(answer.body))
    assert "req-0001" in headers.values()
    assert answer.trailers == ()
    assert "trainer grants[0]" in answer.body.decode()


@pytest.mark.parametrize("dialect", Dialect)
def test_head_is_answered_as_get_without_the_body(dialect: Dialect) -> None:
    whole, head = (render_refusal(refusal(dialect=dialect, is_head=is_head)) for is_head in (False, True))
    assert (head.status, head.headers, head.body) == (whole.status, whole.headers, b"")


@pytest.mark.parametrize("is_grpc", [False, True])
@pytest.mark.parametrize("dialect", Dialect)
@given(message=st.one_of(st.just(HOSTILE), st.text(), st.text().map(lambda text: text * 400)))
def test_whatever_the_application_sent_is_harmless(*, dialect: Dialect, is_grpc: bool, message: str) -> None:
    answer = render_refusal(refusal(dialect=dialect, message=message, is_grpc=is_grpc))
    for name, value in answer.headers:
        assert re.fullmatch(r"[a-z-]+", name)
        assert re.fullmatch(r"[\x20-\x7e]*", value)
    assert sum(len(name) + len(value) for name, value in answer.headers) < 8192
    text = answer.body.decode()
    assert all(character.isprintable() or character == "\n" for character in text)
    if is_grpc:
        assert unquote(headers_of(answer)["grpc-message"]) == presentable(message)
    elif dialect is Dialect.S3_XML:
        root = ET.fromstring(text)  # as a parser reads it, and with no more elements than ours
        assert [child.tag for child in root] == ["Code", "Message", "RequestId"]
        assert (root.findtext("Message") or "") == presentable(message)
    else:
        assert message_of(answer) == presentable(message)


def test_characters_that_do_not_print_are_written_as_numbers() -> None:
    assert presentable(HOSTILE) == (
        "a\\r\\nSet-Cookie: x=1\\x00\\x1b[31m\\u202e]]></Message><Code>\"&' é 漢 \\ud800 \\uffff"
    )


def test_a_message_that_is_too_long_keeps_its_beginning_and_its_end() -> None:
    assert presentable("m" * MAX_MESSAGE_BYTES) == "m" * MAX_MESSAGE_BYTES
    cut = presentable("GET /" + "漢" * MAX_MESSAGE_BYTES + ". More: podkey reasons")
    assert cut.startswith("GET /漢")
    assert " … " in cut
    assert cut.endswith("漢. More: podkey reasons")
    assert MAX_MESSAGE_BYTES - 8 < len(cut.encode()) <= MAX_MESSAGE_BYTES


# --- each dialect, by its shape ----------------------------------------------------------------------


def test_plain_json_names_code_message_and_grant() -> None:
    answer = render_refusal(refusal(rule=RULE))
    assert headers_of(answer)["content-type"] == "application/json"
    assert headers_of(answer)["x-request-id"] == "req-0001"
    error = {"code": "path_not_granted", "message": MESSAGE, "requestId": "req-0001"}
    assert body_of(answer) == {"error": {**error, "grant": "ml/trainer grants[0]"}}
    assert body_of(render_refusal(refusal())) == {"error": error}


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (Reason.PATH_NOT_GRANTED, "permission_error"),
        (Reason.NAME_MISMATCH, "permission_error"),
        (Reason.MALFORMED_REQUEST, "invalid_request_error"),
        (Reason.HEADERS_TOO_LARGE, "invalid_request_error"),
        (Reason.CREDENTIAL_UNAVAILABLE, "api_error"),
        (Reason.UPSTREAM_STALLED, "api_error"),
        (Reason.INTERNAL_ERROR, "api_error"),
    ],
)
def test_anthropics_error_has_the_shape_that_its_documentation_gives(reason: Reason, kind: str) -> None:
    answer = render_refusal(refusal(reason, Dialect.ANTHROPIC_JSON))
    error = {"type": kind, "message": MESSAGE}
    assert body_of(answer) == {"type": "error", "error": error, "request_id": "req-0001"}
    assert headers_of(answer)["request-id"] == "req-0001"


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.ACTION_NOT_GRANTED, "AccessDeniedException"),
        (Reason.UNSUPPORTED_PAYLOAD, "ValidationException"),
        (Reason.BODY_TOO_LARGE, "RequestEntityTooLargeException"),
        (Reason.OVERLOADED, "ThrottlingException"),
        (Reason.CREDENTIAL_UNAVAILABLE, "ServiceUnavailableException"),
        (Reason.INTERNAL_ERROR, "InternalServerException"),
    ],
)
def test_aws_json_names_its_error_in_the_body_and_in_a_header(reason: Reason, code: str) -> None:
    answer = render_refusal(refusal(reason, Dialect.AWS_JSON))
    assert body_of(answer) == {"__type": code, "message": MESSAGE}
    assert headers_of(answer)["x-amzn-errortype"] == code
    assert headers_of(answer)["x-amzn-requestid"] == "req-0001"


@pytest.mark.parametrize(
    ("reason", "code"),
    [(Reason.ACTION_NOT_GRANTED, "DENIED"), (Reason.OVERLOADED, "TOOMANYREQUESTS")],
)
def test_a_registrys_error_has_the_shape_of_its_specification(reason: Reason, code: str) -> None:
    detail = {"reason": reason.value, "requestId": "req-0001"}
    answer = render_refusal(refusal(reason, Dialect.OCI_JSON))
    assert body_of(answer) == {"errors": [{"code": code, "message": MESSAGE, "detail": detail}]}


def test_who_is_asked_for_too_much_says_when_to_try_again() -> None:
    for dialect in Dialect:
        headers = headers_of(render_refusal(refusal(Reason.OVERLOADED, dialect)))
        assert headers["retry-after"] == "1"
        assert "retry-after" not in headers_of(render_refusal(refusal(Reason.PATH_NOT_GRANTED, dialect)))


# --- gRPC --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.PATH_NOT_GRANTED, 7),
        (Reason.NAME_MISMATCH, 7),
        (Reason.MALFORMED_REQUEST, 3),
        (Reason.HEADERS_TOO_LARGE, 3),
        (Reason.CREDENTIAL_UNAVAILABLE, 14),
        (Reason.UPSTREAM_STALLED, 14),
        (Reason.CREDENTIAL_UNUSABLE, 9),
        (Reason.UPSTREAM_UNVERIFIED, 9),
        (Reason.INTERNAL_ERROR, 13),
    ],
)
def test_grpc_is_answered_with_a_status_in_the_only_block_of_headers(reason: Reason, code: int) -> None:
    for dialect in Dialect:
        answer = render_refusal(refusal(reason, dialect, message="100 % of é", is_grpc=True))
        assert (answer.status, answer.body, answer.trailers) == (200, b"", ())
        assert headers_of(answer) == {
            "content-type": "application/grpc",
            "grpc-status": str(code),
            "grpc-message": "100 %25 of %C3%A9",
            REASON_HEADER: reason.value,
            "x-request-id": "req-0001",
        }


# --- as the services' own SDKs read them -------------------------------------------------------------


@pytest.fixture(scope="module")
def s3() -> Callable[[OwnAnswer], tuple[Any, list[object]]]:
    """boto3's own client, which gets the answer before it would open a connection."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what botocore's own start deprecates is not ours
        client = botocore.session.Session().create_client(
            "s3",
            region_name="eu-central-1",
            aws_access_key_id="x",
            aws_secret_access_key="x",
            config=Config(retries={"mode": "standard", "max_attempts": 1}),
        )
    sent: list[object] = []
    answers: list[OwnAnswer] = []

    class Raw:
        def __init__(self, body: bytes) -> None:
            self.body = body

        def stream(self) -> list[bytes]:
            return [self.body]

    def answer(request: object, **_: object) -> AWSResponse:
        sent.append(request)
        return AWSResponse("https://x", answers[-1].status, dict(answers[-1].headers), Raw(answers[-1].body))

    client.meta.events.register("before-send.s3", answer)

    def ask(given: OwnAnswer) -> tuple[Any, list[object]]:
        sent.clear()
        answers.append(given)
        return client, sent

    return ask


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.PATH_NOT_GRANTED, "AccessDenied"),
        (Reason.NAME_MISMATCH, "AccessDenied"),
        (Reason.AMBIGUOUS_PATH, "InvalidRequest"),
        (Reason.HEADERS_TOO_LARGE, "InvalidRequest"),
        (Reason.INTERNAL_ERROR, "InternalError"),
        (Reason.CREDENTIAL_UNAVAILABLE, "ServiceUnavailable"),
        (Reason.UPSTREAM_STALLED, "ServiceUnavailable"),
        (Reason.BODY_TOO_LARGE, "EntityTooLarge"),
        (Reason.OVERLOADED, "SlowDown"),
    ],
)
def test_boto3_prints_our_code_and_message(s3: Any, reason: Reason, code: str) -> None:
    client, _ = s3(render_refusal(refusal(reason, Dialect.S3_XML)))
    with pytest.raises(ClientError) as raised:
        client.get_object(Bucket="b", Key="k")
    assert str(raised.value).startswith(f"An error occurred ({code}) when calling the GetObject operation")
    assert str(raised.value).endswith(f": {MESSAGE}")
    # With one attempt allowed, botocore says when it would have made another.
    assert ("reached max retries" in str(raised.value)) is (REASONS[reason].status >= 500)
    metadata = raised.value.response["ResponseMetadata"]
    assert metadata["RequestId"] == "req-0001"
    assert metadata["HTTPStatusCode"] == REASONS[reason].status
    assert metadata["HTTPHeaders"][REASON_HEADER] == reason.value


def test_boto3_reads_a_refused_head_and_asks_once(s3: Any) -> None:
    client, sent = s3(render_refusal(refusal(dialect=Dialect.S3_XML, is_head=True)))
    with pytest.raises(ClientError, match=r"\(403\) when calling the HeadObject operation: Forbidden"):
        client.head_object(Bucket="b", Key="k")
    assert len(sent) == 1


def openai_client(answer: OwnAnswer, sent: list[object]) -> openai.OpenAI:
    def respond(request: httpx2.Request) -> httpx2.Response:
        sent.append(request)
        return httpx2.Response(answer.status, headers=list(answer.headers), content=answer.body)

    return openai.OpenAI(
        api_key="x", max_retries=0, http_client=httpx2.Client(transport=httpx2.MockTransport(respond))
    )


@pytest.mark.parametrize(
    ("reason", "error", "kind"),
    [
        (Reason.PATH_NOT_GRANTED, openai.PermissionDeniedError, "request_forbidden"),
        (Reason.MALFORMED_QUERY, openai.BadRequestError, "invalid_request_error"),
        (Reason.NAME_MISMATCH, openai.APIStatusError, "request_forbidden"),
        (Reason.CREDENTIAL_UNAVAILABLE, openai.InternalServerError, "server_error"),
    ],
)
def test_openai_raises_our_code_and_message(
    reason: Reason, error: type[openai.APIStatusError], kind: str
) -> None:
    sent: list[object] = []
    with (
        openai_client(render_refusal(refusal(reason, Dialect.OPENAI_JSON)), sent) as client,
        pytest.raises(error) as raised,
    ):
        client.models.list()
    assert MESSAGE in str(raised.value)
    assert (raised.value.code, raised.value.type, raised.value.param) == (reason.value, kind, None)
    assert raised.value.request_id == "req-0001"
    assert len(sent) == 1


@pytest.mark.parametrize("reason", [reason for reason, page in REASONS.items() if page.status >= 500])
def test_openai_tries_again_where_the_cause_may_pass(reason: Reason) -> None:
    answer = render_refusal(refusal(reason, Dialect.OPENAI_JSON))
    with openai_client(answer, []) as client:
        response = httpx2.Response(answer.status, headers=list(answer.headers))
        assert client._should_retry(response) is (reason not in GIVES_UP)
    anthropic = headers_of(render_refusal(refusal(reason, Dialect.ANTHROPIC_JSON)))
    assert anthropic.get("x-should-retry") == ("false" if reason in GIVES_UP else None)


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        (Reason.PATH_NOT_GRANTED, HfHubHTTPError),
        (Reason.MALFORMED_QUERY, BadRequestError),
        (Reason.CREDENTIAL_UNAVAILABLE, HfHubHTTPError),
    ],
)
@pytest.mark.parametrize("is_head", [False, True])
def test_huggingface_hub_prints_our_message_also_for_head(
    reason: Reason, error: type[HfHubHTTPError], *, is_head: bool
) -> None:
    answer = render_refusal(refusal(reason, Dialect.HUGGINGFACE_JSON, is_head=is_head))
    request = httpx2.Request("HEAD" if is_head else "GET", "https://huggingface.co/api/models/a/b")
    response = httpx2.Response(
        answer.status, headers=list(answer.headers), content=answer.body, request=request
    )
    with pytest.raises(error) as raised:
        hf_raise_for_status(response)
    assert type(raised.value) is error
    assert MESSAGE in str(raised.value)
    assert raised.value.server_message == MESSAGE
    assert raised.value.request_id == "req-0001"
    assert headers_of(answer)["x-error-code"] == reason.value
