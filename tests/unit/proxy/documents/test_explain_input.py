import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.hosts import Hostname
from proxy.core.identity import ImageReference, WorkloadIdentity
from proxy.core.paths import RequestPath
from proxy.core.request import ClientCredential, Removal, RequestFacts
from proxy.documents.explain_input import ExplainInput, read_explain_input
from proxy.documents.problems import ProblemCode

FULL = {
    "identity": {
        "serviceAccount": "trainer",
        "namespace": "ml",
        "podName": "train-0",
        "labels": {"app": "train"},
        "images": ["registry.example.com/ml/train:v1", "busybox"],
        "gpu": True,
    },
    "request": {
        "method": "PUT",
        "url": "https://Bucket.S3.amazonaws.com:8443/a%20b?x=1&y",
        "headers": {"X-Amz-Copy-Source": "other/key"},
        "clientCredential": "foreign",
    },
    "at": "2026-01-01T00:00:00Z",
}


def read(text: str) -> ExplainInput:
    found = read_explain_input(text.encode(), "in.json")
    assert isinstance(found, ExplainInput), found
    return found


def test_reads_a_pod_a_request_and_a_moment() -> None:
    found = read(json.dumps(FULL))
    assert found.identity == WorkloadIdentity(
        "ml",
        "trainer",
        pod_name="train-0",
        labels={"app": "train"},
        images=(ImageReference("registry.example.com/ml/train"), ImageReference("busybox")),
        wants_gpu=True,
    )
    assert found.request == RequestFacts.of(
        Hostname("bucket.s3.amazonaws.com"),
        "PUT",
        "/a%20b?x=1&y",
        port=8443,
        headers={"x-amz-copy-source": "other/key"},
        client_credential=ClientCredential.FOREIGN,
    )
    assert found.request.query.values == {"x": ["1"], "y": [""]}
    assert found.at == datetime(2026, 1, 1, tzinfo=UTC)


def test_yaml_will_do_and_what_is_left_out_has_its_default() -> None:
    found = read("request:\n  method: GET\n  url: https://api.example.com\n")
    assert found == ExplainInput(
        RequestFacts.of(
            Hostname("api.example.com"), "GET", "/", client_credential=ClientCredential.PLACEHOLDER
        ),
        WorkloadIdentity("default", "default"),
        None,
    )


def test_labels_of_the_namespace_are_beside_the_pods() -> None:
    assert read(json.dumps(FULL)).namespace_labels == ()
    found = read(json.dumps({**FULL, "namespaceLabels": {"tier": "b", "tenant": "a"}}))
    assert found.namespace_labels == (("tenant", "a"), ("tier", "b"))
    assert found.identity == read(json.dumps(FULL)).identity


def test_the_keys_in_a_body_are_what_it_removes() -> None:
    text = "{request: {method: POST, url: 'https://b.s3.amazonaws.com/?delete', deleteKeys: [a/b, 'no']}}"
    assert read(text).request.removals == (Removal("a/b"), Removal("no"))


@pytest.mark.parametrize("keys", ["[]", "x", "['']", "[a, a]"])
def test_keys_are_a_list_of_texts(keys: str) -> None:
    text = f"{{request: {{method: POST, url: 'https://b.s3.amazonaws.com/?delete', deleteKeys: {keys}}}}}"
    found = read_explain_input(text.encode(), "in.json")
    assert isinstance(found, list)
    assert found[0].path.startswith("request.deleteKeys")


def test_an_identity_of_nothing_is_the_default_pod() -> None:
    found = read("{identity: {labels: {}, images: []}, request: {method: GET, url: 'https://a.example'}}")
    assert found.identity == WorkloadIdentity("default", "default")


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "query"),
    [
        ("https://a.example", "a.example", 443, "/", ""),
        ("https://a.example/", "a.example", 443, "/", ""),
        ("HTTPS://A.Example:443/v1", "a.example", 443, "/v1", ""),
        ("https://a.example?x=1", "a.example", 443, "/", "x=1"),
        ("https://a.example/v1?x=1#top", "a.example", 443, "/v1", "x=1"),
        ("https://a.example/v1//b/?", "a.example", 443, "/v1//b/", ""),
        ("https://user@a.example:/v1", "a.example", 443, "/v1", ""),
        ("https://a.example/v1/../v2", "a.example", 443, "/v2", ""),
    ],
)
def test_reads_a_url_as_a_client_would_send_it(url: str, host: str, port: int, path: str, query: str) -> None:
    found = read(json.dumps({"request": {"method": "GET", "url": url}})).request
    assert (found.host, found.port, found.path.text, found.query.raw) == (host, port, path, query)


def test_a_path_that_has_no_normal_form_is_kept_as_its_fault() -> None:
    found = read(json.dumps({"request": {"method": "GET", "url": "https://a.example/a%2Fb"}})).request
    assert found.path == RequestPath.parse("/a%2Fb")
    assert found.path.fault is not None


@pytest.mark.parametrize(
    ("change", "code", "path", "message", "fix"),
    [
        (
            {"url": "http://a.example"},
            "bad_value",
            "request.url",
            "is not an https URL",
            "only where TLS proves",
        ),
        (
            {"url": "a.example/v1"},
            "bad_value",
            "request.url",
            "is not an https URL",
            "write it with https://",
        ),
        (
            {"url": "https://a.example:99999/"},
            "bad_value",
            "request.url",
            "is not a URL: Port out",
            "a whole URL",
        ),
        ({"url": "https://[::1/"}, "bad_value", "request.url", "is not a URL: Invalid IPv6", "a whole URL"),
        (
            {"url": "https://10.0.0.1/"},
            "bad_value",
            "request.url",
            "`10.0.0.1` is not a host name",
            "host's name",
        ),
        ({"url": "https:///v1"}, "bad_value", "request.url", "`` is not a host name", "host's name"),
        ({"url": "https://a.exa\tmple/v1"}, "bad_value", "request.url", "is not a URL", "a whole URL"),
        ({"url": " https://a.example/v1"}, "bad_value", "request.url", "is not a URL", "a whole URL"),
        ({"method": "get"}, "never_matches", "request.method", "`get` never matches", "write `GET`"),
        (
            {"clientCredential": "real"},
            "bad_value",
            "request.clientCredential",
            "is not one of: absent",
            "foreign",
        ),
    ],
)
def test_tells_what_is_wrong_with_a_request(
    change: dict[str, str], *, code: str, path: str, message: str, fix: str
) -> None:
    request = {"method": "GET", "url": "https://a.example/"} | change
    problems = read_explain_input(json.dumps({"request": request}).encode(), "in.json")
    assert isinstance(problems, list)
    (problem,) = problems
    assert (problem.code.value, problem.path, problem.file) == (code, path, "in.json")
    assert message in problem.message
    assert fix in problem.fix


def test_tells_of_an_image_that_is_none() -> None:
    text = json.dumps({"identity": {"images": ["App:v1"]}, "request": FULL["request"]})
    problems = read_explain_input(text.encode(), "in.json")
    assert isinstance(problems, list)
    (problem,) = problems
    assert (problem.path, problem.message) == ("identity.images[0]", "`App:v1` is not an image reference")
    assert "tag and digest as in the pod" in problem.fix


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("", ProblemCode.BAD_VALUE, "0 documents"),
        ("{}\n---\n{}\n", ProblemCode.BAD_VALUE, "2 documents"),
        ("{", ProblemCode.YAML_SYNTAX, "not valid YAML: did not find expected node content"),
        ("{}", ProblemCode.MISSING_KEY, "`request` is missing"),
    ],
)
def test_tells_what_is_wrong_with_the_input(text: str, code: ProblemCode, message: str) -> None:
    problems = read_explain_input(text.encode(), "in.json")
    assert isinstance(problems, list)
    assert [(problem.code, problem.message) for problem in problems] == [(code, message)]


def check_total(data: bytes) -> None:
    found = read_explain_input(data, "in.json")
    assert isinstance(found, ExplainInput) or (found and all(problem.fix for problem in found))


@given(data=st.binary(max_size=100))
def test_fuzz_bytes_are_an_input_or_problems(data: bytes) -> None:
    check_total(data)


@given(url=st.text("htps:/[]@%?#:.aü1 \t\\\x00", max_size=25))
def test_fuzz_urls_are_an_input_or_problems(url: str) -> None:
    check_total(json.dumps({"request": {"method": "GET", "url": f"https://{url}"}}).encode())


def test_fuzz_every_prefix_of_an_input_is_an_input_or_problems() -> None:
    data = json.dumps(FULL, indent=1).encode()
    for end in range(len(data) + 1):
        check_total(data[:end])
