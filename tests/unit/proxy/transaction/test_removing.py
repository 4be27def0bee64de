"""Lists of keys to delete: read before anything is judged or sent."""

from hashlib import md5, sha256
from html import escape

import pytest

from proxy.attach.bodies import BodyFault
from proxy.aws.delete_objects import MAX_BODY
from proxy.core.credentials import SigV4
from proxy.core.reasons import Reason
from proxy.core.structs import replace
from proxy.core.verdict import Attach, ReadBody, RuleRef
from proxy.transaction import engine
from proxy.transaction.engine import open_request
from proxy.transaction.head import Head
from proxy.transaction.opening import Forward, Refused
from proxy.transaction.pod import PodState
from proxy.transaction.steps import WantBody, WantLease
from tests.judge_world import NOON
from tests.s3_signer import HMAC_MODES, Mode
from tests.signed_world import (
    FOREIGN,
    OWNER,
    PLACEHOLDERS,
    POD,
    STORE,
    WATCHED_POD,
    Sdk,
    asked,
    live_lease,
    signed_by,
    verified,
)
from tests.transaction_world import Driven, drive, forwarded, values_of


def listed(*keys: str | tuple[str, str]) -> bytes:
    """The body of DeleteObjects; a pair is a key and its version."""
    pairs = [key if isinstance(key, tuple) else (key, "") for key in keys]
    objects = "".join(
        f"<Object><Key>{escape(key)}</Key>{f'<VersionId>{version}</VersionId>' if version else ''}</Object>"
        for key, version in pairs
    )
    return f'<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{objects}</Delete>'.encode()


def url(bucket: str) -> str:
    return f"https://{bucket}.s3.eu-west-1.amazonaws.com/?delete"


def deleting(bucket: str, body: bytes | BodyFault, *fields: tuple[str, str], pod: PodState = POD) -> Driven:
    head, at = asked(url(bucket), *fields, method="POST", has_body=True)
    return drive(head, at, pod, live_lease, body)


def refusal(driven: Driven) -> tuple[Reason, str]:
    assert isinstance(driven.opening, Refused), driven.opening
    assert driven.wanted is None  # nobody is asked for a credential that goes nowhere
    assert driven.opening.record.reason == driven.opening.refusal.reason.value
    return driven.opening.refusal.reason, driven.opening.refusal.message


# --- what is granted ---------------------------------------------------------------------------------


def test_the_body_is_asked_for_before_any_lease() -> None:
    driven = deleting("data", listed("a", "b/c"))

    assert [type(want) for want in driven.wants] == [WantBody, WantLease]
    assert driven.body == WantBody(MAX_BODY)
    assert isinstance(driven.opening, Forward)
    assert verified(driven.opening, "POST")
    assert driven.opening.record.action == "s3:DeleteObjects"
    # It is sent as it was read.
    assert driven.opening.rewrite is None


@pytest.mark.parametrize("mode", [Mode.HASHED, Mode.UNSIGNED])
def test_what_the_application_said_of_the_body_is_kept(mode: Mode) -> None:
    body = listed("a")
    said = sha256(body).hexdigest() if mode is Mode.HASHED else str(mode)
    headers = {"content-md5": md5(body, usedforsecurity=False).hexdigest(), "content-type": "application/xml"}
    head, at = signed_by(PLACEHOLDERS, url("data"), "POST", said, headers, has_body=True)
    what = forwarded(head, at, POD, live_lease, body)

    assert verified(what, "POST")
    assert values_of(what, "x-amz-content-sha256") == [said]
    assert values_of(what, "content-md5") == [headers["content-md5"]]


def test_every_key_must_be_granted() -> None:
    assert isinstance(deleting("narrow", listed("train/a", "train/b/c")).opening, Forward)

    reason, message = refusal(deleting("narrow", listed("train/a", "training-secret/x")))
    assert reason is Reason.PIN_NOT_GRANTED
    assert "training-secret/x" in message


def test_a_version_needs_an_action_of_its_own() -> None:
    assert isinstance(deleting("old", listed("a", ("b", "v1"))).opening, Forward)
    assert refusal(deleting("data", listed("a", ("b", "v1"))))[0] is Reason.ACTION_NOT_GRANTED


def test_a_bucket_that_is_not_granted_is_not_read_for() -> None:
    driven = deleting("ungranted", listed("a"))

    assert driven.wants == ()
    assert refusal(driven)[0] is Reason.PIN_NOT_GRANTED


def test_the_buckets_owner_is_pinned_here_too() -> None:
    opening = deleting("owned", listed("a")).opening

    assert isinstance(opening, Forward)
    assert verified(opening, "POST")
    assert values_of(opening, "x-amz-expected-bucket-owner") == [OWNER]


def test_a_store_of_its_own_is_read_for_as_well() -> None:
    head, at = asked(f"https://{STORE}:9000/data?delete=", method="POST", has_body=True)
    driven = drive(head, at, POD, live_lease, listed("a"))

    assert driven.body is not None
    assert isinstance(driven.opening, Forward)
    assert verified(driven.opening, "POST").region == "eu-north-1"


def test_one_that_the_placeholder_presigned_is_read_for_as_well() -> None:
    host = "data.s3.eu-west-1.amazonaws.com"
    target = Sdk(PLACEHOLDERS, "eu-west-1").presigned("POST", host, "/?delete")
    head, at = asked(f"https://{host}{target}", method="POST", has_body=True)
    what = forwarded(head, at, POD, live_lease, listed("a"))

    assert what.target == "/?delete"
    assert verified(what, "POST")


# --- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "it is no XML"),
        (b"<Delete/>", "it names no key"),
        (b"<Delete><Object><Key>a</Key></Object>", "it is no XML"),
        (b"<!DOCTYPE x><Delete><Object><Key>a</Key></Object></Delete>", "document type"),
        (listed("a").decode().encode("utf-16"), "it is not in UTF-8"),
        (listed("k" * 1025), "a key is longer than"),
        (b"5;chunk-signature=00\r\n<Del\r\n", "it is no XML"),
    ],
)
def test_a_list_that_cannot_be_read_is_malformed_body(body: bytes, why: str) -> None:
    reason, message = refusal(deleting("data", body))

    assert reason is Reason.MALFORMED_BODY
    assert "the list of keys to delete cannot be read: " in message
    assert why in message


def test_a_list_without_a_body_is_malformed_body() -> None:
    head, at = asked(url("data"), method="POST")
    driven = drive(head, at, POD, live_lease)

    assert driven.wants == ()
    assert refusal(driven)[0] is Reason.MALFORMED_BODY


@pytest.mark.parametrize("why", [Reason.BODY_TOO_LARGE, Reason.OVERLOADED, Reason.MALFORMED_BODY])
def test_a_body_that_did_not_come_is_refused_for_that_reason(why: Reason) -> None:
    reason, message = refusal(deleting("data", BodyFault(why, "so many bytes")))

    assert reason is why
    assert "so many bytes" in message


@pytest.mark.parametrize(
    "fields",
    [
        (("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),),
        *((("x-amz-content-sha256", str(mode)),) for mode in HMAC_MODES if mode.signs_chunks),
        (("x-amz-content-sha256", "UNSIGNED-PAYLOAD"), ("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")),
        (("x-amz-content-sha256", "unknown"),),
        (("Content-Encoding", "gzip"),),
        (("content-encoding", "aws-chunked"),),
        (("Content-Type", "application/xml; charset=utf-16"),),
        (("Content-Type", 'application/xml; charset="UTF-7"'),),
        (("Content-Type", "application/xml; charset = utf-7"),),
        (("Content-Type", "application/xml; charset=utf-7; note=utf-8"),),
        (("Content-Type", "application/xml; charset=utf-8; charset=utf-7"),),
        (("Content-Type", "application/xml; charset*=utf-7''x"),),
        (("Content-Type", "application/xml; charset=utf-80"),),
        (("Content-Type", "application/xml"), ("content-type", "text/xml; charset=utf-16")),
    ],
)
def test_a_list_in_a_wrapping_is_unsupported_payload(fields: tuple[tuple[str, str], ...]) -> None:
    driven = deleting("data", listed("a"), *fields)

    assert driven.wants == ()
    assert refusal(driven)[0] is Reason.UNSUPPORTED_PAYLOAD


@pytest.mark.parametrize(
    "fields",
    [
        (("Content-Type", "application/xml; charset=UTF-8"),),
        (("Content-Type", 'text/xml;charset="utf-8"; x=y'),),
        (("Content-Type", "application/octet-stream"),),
        (("Content-Encoding", ""),),
    ],
)
def test_a_plain_list_is_read(fields: tuple[tuple[str, str], ...]) -> None:
    assert isinstance(deleting("data", listed("a"), *fields).opening, Forward)


def test_a_reply_that_is_no_body_is_internal_error() -> None:
    head, at = asked(url("data"), method="POST", has_body=True)
    steps = open_request(POD, at, head, NOON, "request-1")
    want = next(steps)
    assert isinstance(want, WantBody)
    with pytest.raises(StopIteration) as end:
        steps.send(live_lease(POD_CREDENTIAL))
    assert end.value.value.refusal.reason is Reason.INTERNAL_ERROR


POD_CREDENTIAL = next(iter(POD.leases))


# --- policies on trial, and somebody else's signatures -----------------------------------------------


@pytest.mark.parametrize(
    ("bucket", "body", "fields", "would"),
    [
        ("data", listed("a"), (("Authorization", "AWS x:y"),), "granted"),
        ("narrow", listed("elsewhere"), (), "pin_not_granted"),
        ("data", b"<Delete/>", (), "malformed_body"),
        ("data", b"<Delete/>", (("Content-Encoding", "gzip"),), "unsupported_payload"),
        ("ungranted", listed("a"), (), "pin_not_granted"),
    ],
)
def test_a_policy_on_trial_lets_pass_what_can_be_passed_on(
    bucket: str, body: bytes, fields: tuple[tuple[str, str], ...], would: str
) -> None:
    driven = deleting(bucket, body, *fields, pod=WATCHED_POD)

    assert driven.wanted is None
    assert isinstance(driven.opening, Forward)
    assert (driven.opening.fields, driven.opening.attached) == (fields, False)
    assert driven.opening.record.would == would


def test_a_policy_on_trial_signs_what_the_placeholder_signed() -> None:
    head, at = signed_by(PLACEHOLDERS, url("data"), "POST", "UNSIGNED-PAYLOAD", has_body=True)
    assert verified(forwarded(head, at, WATCHED_POD, live_lease, listed("a")), "POST")


@pytest.mark.parametrize("why", [Reason.BODY_TOO_LARGE, Reason.OVERLOADED])
def test_a_body_that_is_gone_can_be_passed_on_by_nobody(why: Reason) -> None:
    assert refusal(deleting("data", BodyFault(why, "so it is"), pod=WATCHED_POD))[0] is why


def presigned(bucket: str) -> tuple[Head, object]:
    host = f"{bucket}.s3.eu-west-1.amazonaws.com"
    target = Sdk(FOREIGN, "eu-west-1").presigned("POST", host, "/?delete")
    return asked(f"https://{host}{target}", method="POST", has_body=True)


def test_somebody_elses_list_is_read_and_then_refused_or_passed() -> None:
    head, at = presigned("data")
    refused = drive(head, at, POD, live_lease, listed("a"))  # type: ignore[arg-type]
    assert refusal(refused)[0] is Reason.FOREIGN_PRESIGNED

    head, at = presigned("shared")
    passed = drive(head, at, POD, live_lease, listed("a"))  # type: ignore[arg-type]
    assert isinstance(passed.opening, Forward)
    assert (passed.opening.target, passed.opening.attached) == (head.target, False)

    unread = drive(head, at, POD, live_lease, b"<Delete/>")  # type: ignore[arg-type]
    assert refusal(unread)[0] is Reason.MALFORMED_BODY
    assert unread.opening.record.static_credential_seen


def test_a_foreign_signature_on_a_list_is_replaced() -> None:
    head, at = signed_by(FOREIGN, url("data"), "POST", "UNSIGNED-PAYLOAD", has_body=True)
    what = forwarded(head, at, POD, live_lease, listed("a"))

    assert verified(what, "POST")
    assert what.record.static_credential_seen


def test_what_is_judged_is_what_came() -> None:
    """The body is given once, and no second one is asked for."""
    head, at = asked(url("narrow"), method="POST", has_body=True)
    steps = open_request(replace(POD), at, head, NOON, "request-1")
    assert isinstance(next(steps), WantBody)
    assert isinstance(steps.send(listed("train/a")), WantLease)
    with pytest.raises(StopIteration) as end:
        steps.send(live_lease(POD_CREDENTIAL))
    assert isinstance(end.value.value, Forward)


def test_a_body_is_never_asked_for_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the judge says: it has had its list."""
    rule = RuleRef("ml", "p", 0)
    again = ReadBody(Attach(rule, POD_CREDENTIAL, SigV4()))
    monkeypatch.setattr(engine, "decide", lambda *_: again)
    driven = deleting("data", listed("a"))

    assert [type(want) for want in driven.wants] == [WantBody]
    reason, message = refusal(driven)
    assert reason is Reason.INTERNAL_ERROR
    assert "its body was asked for twice" in message
