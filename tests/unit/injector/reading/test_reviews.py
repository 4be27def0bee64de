import json
import tracemalloc
from base64 import b64decode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from injector.core.outcome import Finding, Inject, Outcome, Refuse, Skip
from injector.reading.reviews import (
    MAX_DEPTH,
    MAX_MESSAGE,
    MAX_VALUES,
    MAX_WARNING,
    MAX_WARNINGS,
    MAX_WARNINGS_TOGETHER,
    Answer,
    GroupVersionName,
    Review,
    ReviewFault,
    answer_of,
    outcome_name,
    read_review,
    refusal_message,
    render_answer,
)
from proxy.core.injection_codes import CodeKind, InjectionCode

REQUEST: dict[str, Any] = {
    "uid": "u-1",
    "kind": {"group": "", "version": "v1", "kind": "Pod"},
    "resource": {"group": "", "version": "v1", "resource": "pods"},
    "namespace": "training",
    "operation": "CREATE",
    "userInfo": {"username": "system:serviceaccount:kube-system:job-controller", "uid": "u-2"},
    "object": {"kind": "Pod", "metadata": {"generateName": "train-"}},
    "oldObject": None,
    "dryRun": False,
    "options": {"kind": "CreateOptions"},
}
ASKED = Finding(InjectionCode.ASKED, "the pod asks for it")
HOST_NETWORK = Finding(InjectionCode.HOST_NETWORK, "spec.hostNetwork is true", "take it out")
NOT_NEEDED = Finding(InjectionCode.NOT_NEEDED, "no accelerator, and no policy")


def body(**changes: Any) -> bytes:
    request = {name: value for name, value in {**REQUEST, **changes}.items() if value is not ...}
    return json.dumps(
        {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}
    ).encode()


def fault(data: bytes) -> str:
    read = read_review(data)
    assert isinstance(read, ReviewFault)
    assert read.status == 400
    return read.message


def response(answer: Answer) -> dict[str, Any]:
    review = json.loads(render_answer(answer))
    assert review.keys() == {"apiVersion", "kind", "response"}
    assert (review["apiVersion"], review["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    answered: dict[str, Any] = review["response"]
    return answered


# --- reading -------------------------------------------------------------------------------------


def test_a_review_is_read_as_far_as_anybody_asks() -> None:
    assert read_review(body()) == Review(
        uid="u-1",
        operation="CREATE",
        kind=GroupVersionName("", "v1", "Pod"),
        resource=GroupVersionName("", "v1", "pods"),
        namespace="training",
        object={"kind": "Pod", "metadata": {"generateName": "train-"}},
        user="system:serviceaccount:kube-system:job-controller",
    )


def test_what_is_absent_is_empty() -> None:
    absent = ("namespace", "operation", "userInfo", "object", "oldObject", "dryRun")
    read = read_review(body(**dict.fromkeys(absent, ...)))

    assert isinstance(read, Review)
    assert (read.namespace, read.operation, read.user, read.object, read.dry_run) == ("", "", "", None, False)


def test_a_deletion_a_sub_resource_and_a_dry_run_are_told_apart() -> None:
    read = read_review(
        body(operation="DELETE", object=None, oldObject={"a": 1}, dryRun=True, subResource="exec", name="x")
    )

    assert isinstance(read, Review)
    assert (read.operation, read.object, read.old_object) == ("DELETE", None, {"a": 1})
    assert (read.dry_run, read.sub_resource, read.name) == (True, "exec", "x")


@pytest.mark.parametrize("text", ["\u2028\u2029", "<b>&amp;", "ä😀", "\x00", '"\\', r"\ud83d is no escape"])
@pytest.mark.parametrize("escaped", [True, False])
def test_every_text_that_json_can_write_is_kept(text: str, escaped: bool) -> None:  # noqa: FBT001
    review = {
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {**REQUEST, "object": {text: text}},
    }
    read = read_review(json.dumps(review, ensure_ascii=escaped).encode())

    assert isinstance(read, Review)
    assert read.object == {text: text}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the body is not JSON: Expecting value at character 0"),
        (b"{", "the body is not JSON"),
        (b"<html>", "the body is not JSON"),
        (b"\xef\xbb\xbf" + body(), "the body is not JSON: Expecting value"),
        (body().decode().encode("utf-16"), "the body is not UTF-8"),
        (b'{"a": "\xff"}', "the body is not UTF-8"),
        (b'{"a": "\\ud83d"}', "the body is not UTF-8"),
        (b'{"a": "\\uD83D"}', "the body is not UTF-8"),
        (b'{"a": NaN}', "the body is not JSON: NaN is no number"),
        (b'{"a": -Infinity}', "the body is not JSON: -Infinity is no number"),
        (b'{"a": 1e999}', "the body holds a number that is too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "the body holds a number that is too long"),
        (b'{"request": {}, "request": {}}', "in one way: a member stands twice"),
        (b"[]", "the body is not an object"),
        (b"null", "the body is not an object"),
        (b'"text"', "the body is not an object"),
        (b"{}", "the body is `` ``"),
        (body().replace(b"AdmissionReview", b"Pod"), "the body is `admission.k8s.io/v1` `Pod`"),
        (b'{"kind": 1}', "`apiVersion` is not a string|`kind` is not a string"),
        (body(uid=""), "request.uid is missing"),
        (body(uid=...), "request.uid is missing"),
        (body(uid=7), "`uid` is not a string"),
        (body(kind=...), "request.kind is not an object"),
        (body(resource="pods"), "request.resource is not an object"),
        (body(kind={"kind": 1}), "`kind` is not a string"),
        (body(object=[]), "request.object is not an object"),
        (body(oldObject="x"), "request.oldObject is not an object"),
        (body(userInfo=[]), "request.userInfo is not an object"),
        (body(userInfo={"username": 1}), "`username` is not a string"),
        (body(dryRun="true"), "`dryRun` is neither true nor false"),
        (body(dryRun=1), "`dryRun` is neither true nor false"),
    ],
)
def test_a_body_that_is_no_review_is_told_why(data: bytes, message: str) -> None:
    assert any(part in fault(data) for part in message.split("|"))


class _Members(list[Any]):
    """Of an object, in which one may stand twice."""

    @property
    def twice(self) -> bool:
        return len({name for name, _ in self}) != len(self)


MEMBER_NAMES = ["a", "b", ":", 'a"', "a\\\\", '":', 'b":"c', "\u2028", " :"]
NESTED = st.recursive(
    st.sampled_from([1, None, "x", ":", 'a":', "a\\", '\\":']),
    lambda some: (
        st.lists(some, max_size=3)
        | st.lists(st.tuples(st.sampled_from(MEMBER_NAMES), some), max_size=3).map(_Members)
    ),
    max_leaves=8,
)


def written(value: object, space: str) -> tuple[str, bool]:
    """As JSON, and whether a member stands twice in it."""
    if isinstance(value, _Members):
        parts = [(json.dumps(name), *written(one, space)) for name, one in value]
        text = ",".join(f"{name}{space}:{one}" for name, one, _ in parts)
        return f"{{{text}}}", value.twice or any(twice for *_, twice in parts)
    if isinstance(value, list):
        items = [written(one, space) for one in value]
        return f"[{','.join(text for text, _ in items)}]", any(twice for _, twice in items)
    return json.dumps(value), False


@settings(max_examples=300)
@given(NESTED, st.sampled_from(["", " ", "\t", "\r\n"]))
def test_a_member_that_stands_twice_is_seen_wherever_it_is(value: object, space: str) -> None:
    text, twice = written(value, space)
    data = body(object={"deep": "HERE"}).replace(b'"HERE"', text.encode())

    assert ("stands twice" in str(read_review(data))) == twice


def test_a_review_of_an_older_version_is_told_what_to_configure() -> None:
    older = body().replace(b"admission.k8s.io/v1", b"admission.k8s.io/v1beta1")

    assert fault(older) == (
        "the body is `admission.k8s.io/v1beta1` `AdmissionReview`, and this webhook speaks "
        '`admission.k8s.io/v1` `AdmissionReview`; set `admissionReviewVersions: ["v1"]` in the webhook '
        "configuration"
    )


def test_a_body_of_brackets_ends_like_any_other_that_is_too_deep() -> None:
    deep = f"the body is nested more than {MAX_DEPTH} levels deep"

    assert fault(b"[" * MAX_VALUES) == deep
    assert fault(b'{"a":' * 500 + b"1" + b"}" * 500) == deep
    assert fault(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1)) == deep
    assert fault(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH) == "the body is not an object"


def test_a_large_review_is_read() -> None:
    large = {"spec": {"env": [{"name": f"NAME_{n}", "value": "x" * 1000} for n in range(3000)]}}
    read = read_review(body(object=large))

    assert isinstance(read, Review)
    assert read.object == large


def test_a_body_of_very_many_values_is_refused_before_it_costs_as_much() -> None:
    for value in (b"{}", b"[]", b"0", b'{"":0}'):
        read = read_review(b"[" + b",".join([value] * (MAX_VALUES + 1)) + b"]")
        assert isinstance(read, ReviewFault)
        assert (read.status, "values" in read.message) == (413, True)


def test_the_largest_pod_has_fewer_values() -> None:
    containers = [{"name": f"c{n}", "env": [variable(n, m) for m in range(140)]} for n in range(250)]
    fields = {
        f'k:{{"name":"{one["name"]}"}}': {
            ".": {},
            "f:env": {f'k:{{"name":"{entry["name"]}"}}': {".": {}, "f:name": {}} for entry in one["env"]},
        }
        for one in containers
    }
    pod = {"metadata": {"managedFields": [{"fieldsV1": fields}]}, "spec": {"containers": containers}}

    assert len(json.dumps(pod)) > 3 << 20
    assert isinstance(read_review(body(object=pod)), Review)


def variable(container: int, number: int) -> dict[str, str]:
    return {"name": f"SETTING_{container}_{number}", "value": f"value {number}"}


def test_what_the_caller_says_it_is_comes_back_short_and_printable() -> None:
    odd = body().replace(b"AdmissionReview", b"\\u001b" + b"x" * 100_000)

    assert len(fault(odd)) < 400
    assert fault(odd).isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from([*REQUEST, "subResource", "name"]), JSON))
def test_fuzz_any_request_is_a_review_or_a_fault(changes: dict[str, Any]) -> None:
    assert isinstance(read_review(body(**changes)), Review | ReviewFault)


@given(st.binary(max_size=100))
def test_fuzz_any_bytes_are_a_fault(data: bytes) -> None:
    assert isinstance(read_review(data), ReviewFault)
    assert isinstance(read_review(body()[:-1] + data), Review | ReviewFault)


# --- answers -------------------------------------------------------------------------------------


def review(**changes: Any) -> Review:
    read = read_review(body(**changes))
    assert isinstance(read, Review)
    return read


@pytest.mark.parametrize(
    ("outcome", "name"),
    [
        (Inject((ASKED,)), CodeKind.INJECT),
        (Skip((NOT_NEEDED,)), CodeKind.SKIP),
        (Refuse((HOST_NETWORK,)), CodeKind.REFUSE),
    ],
)
def test_the_audit_log_gets_outcome_and_codes(outcome: Outcome, name: CodeKind) -> None:
    assert outcome_name(outcome) is name
    assert response(answer_of(review(), outcome))["auditAnnotations"] == {
        "outcome": name.value,
        "reasons": outcome.reasons[0].code.value,
    }


def test_an_injection_is_allowed_with_its_patch() -> None:
    patch = b'[{"op":"add","path":"/a","value":1}]'
    answered = response(answer_of(review(), Inject((ASKED,)), patch))

    assert (answered["uid"], answered["allowed"], answered["patchType"]) == ("u-1", True, "JSONPatch")
    assert b64decode(answered["patch"], validate=True) == patch
    assert "status" not in answered
    assert "warnings" not in answered


def test_there_is_no_patch_type_without_a_patch() -> None:
    assert response(answer_of(review(), Skip((NOT_NEEDED,)))).keys() == {"uid", "allowed", "auditAnnotations"}
    assert response(Answer("u-1")) == {"uid": "u-1", "allowed": True}


def test_a_refusal_says_all_reasons_and_never_patches() -> None:
    answer = answer_of(review(dryRun=True), Refuse((HOST_NETWORK, ASKED)), b"[]")
    answered = response(answer)

    assert answer.dry_run
    assert answer.outcome == Refuse((HOST_NETWORK, ASKED))
    assert answered["status"] == {
        "status": "Failure",
        "message": "podkey: host_network: spec.hostNetwork is true; take it out | asked: the pod asks for it",
        "code": 403,
        "reason": "Forbidden",
    }
    assert answered.keys() & {"patch", "patchType"} == set()
    assert response(Answer("u-1", allowed=False, patch=b"[]")).keys() & {"patch", "patchType"} == set()


def test_a_refusal_of_the_moment_is_asked_again_by_the_client() -> None:
    status = response(answer_of(review(), Refuse((HOST_NETWORK,)), retry_after_seconds=1))["status"]

    assert (status["code"], status["reason"]) == (503, "ServiceUnavailable")
    assert status["details"] == {"retryAfterSeconds": 1}


def test_warnings_keep_the_limits_of_the_api_server() -> None:
    long = [Finding(InjectionCode.USER_UNKNOWN, "x" * 1000)] * 40
    short = [Finding(InjectionCode.USER_UNKNOWN, "x")] * 40
    cut = response(answer_of(review(), Inject((ASKED,), tuple(long))))["warnings"]
    many = response(answer_of(review(), Inject((ASKED,), tuple(short))))["warnings"]

    assert {len(line) for line in cut} == {MAX_WARNING}
    assert all(line.endswith("…") for line in cut)
    assert MAX_WARNINGS_TOGETHER - MAX_WARNING <= sum(map(len, cut)) <= MAX_WARNINGS_TOGETHER
    assert many == ["podkey: user_unknown: x"] * MAX_WARNINGS


def test_a_message_names_how_many_reasons_it_had_no_room_for() -> None:
    assert refusal_message([]) == ""
    assert refusal_message(["a", "b"]) == "a | b"
    assert refusal_message(["x" * 5000]) == "x" * (MAX_MESSAGE - 1) + "…"
    assert refusal_message(["a", "x" * 5000, "b"]) == "a | and 2 more"
    assert refusal_message(["x" * 5000, "b"]).endswith("… | and 1 more")


def test_nothing_that_a_terminal_obeys_goes_out() -> None:
    evil = Finding(InjectionCode.USER_UNKNOWN, "a\x1b[2Jb\nc\u202ed ä")
    answered = response(answer_of(review(), Refuse((evil,), (evil,))))

    assert answered["status"]["message"] == "podkey: user_unknown: a [2Jb c d ä"
    assert answered["warnings"] == ["podkey: user_unknown: a [2Jb c d ä"]


def test_a_body_that_has_to_be_looked_at_twice_is_held_once() -> None:
    members = [f'"member-{number}"' for number in range(5000)]

    def most(colon: str) -> int:
        body = ("{" + ",".join(name + colon + "[0.5]" for name in members) + "}").encode()
        tracemalloc.start()
        try:
            assert isinstance(read_review(body), ReviewFault)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    once, twice = most(":"), most(" :")

    assert twice < 1.6 * once
