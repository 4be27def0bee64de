import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.core.reason_pages import REASONS
from proxy.core.reasons import Reason
from tests.command_line import (
    CHAT,
    COMPLETIONS,
    EXAMPLES,
    INFERENCE,
    NOBODY,
    ROOT,
    TRAINING,
    arguments_of,
    example_lines,
    podkey,
)

VERDICT_KEYS = ["verdict", "reason", "rule", "credential", "attach", "would"]
REQUEST = f"{INFERENCE}/request.json"


@pytest.fixture
def observing(tmp_path: Path) -> str:
    """The inference example before its team has moved over."""
    text = (EXAMPLES / "03-inference/policy.yaml").read_text()
    file = tmp_path / "policy.yaml"
    text = text.replace("onForeignCredential: refuse", "onForeignCredential: replace")
    file.write_text(text.replace("spec:\n  workloads:", "spec:\n  mode: observe\n  workloads:", 1))
    return str(file)


def answer(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


# --- what comes out ------------------------------------------------------------------------------


def test_an_attach_names_the_grant_the_credential_and_its_form(capsys: pytest.CaptureFixture[str]) -> None:
    assert podkey("explain", "POST", COMPLETIONS, *CHAT) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out == (
        "pod      inference/chat (no labels; no accelerator)\n"
        "request  POST api.openai.com; credential sent: placeholder\n"
        "         path as it is matched and forwarded: /v1/chat/completions\n"
        "\n"
        "policy inference/chat (enforce)\n"
        "  + about this pod, by its service account\n"
        "  + grants[0] openai: covers the request\n"
        "  - grants[1] vectors.acme.example: does not name the host api.openai.com\n"
        "\n"
        "verdict  attach [granted]\n"
        "         by inference/chat grants[0]\n"
        "         credential inference/openai, as bearer\n"
    )


def test_a_refusal_says_what_the_nearest_grant_lacks_and_what_to_change(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = REASONS[Reason.METHOD_NOT_GRANTED]

    assert (
        podkey("explain", "DELETE", "https://vectors.acme.example:6333/collections/products/points/1", *CHAT)
        == 2
    )

    out = capsys.readouterr().out
    assert "request  DELETE vectors.acme.example:6333; credential sent: placeholder\n" in out
    assert "  - grants[0] openai: does not name the host vectors.acme.example\n" in out
    assert "  - grants[1] vectors.acme.example: DELETE is not one of GET, POST [method_not_granted]\n" in out
    assert out.endswith(
        "verdict  refuse [method_not_granted]\n"
        f"         {page.meaning}\n"
        "         nearest grant: inference/chat grants[1]\n"
        f"         what to change: {page.change}\n"
    )


def test_a_request_that_cannot_be_read_has_no_nearest_grant(capsys: pytest.CaptureFixture[str]) -> None:
    assert podkey("explain", "POST", f"{COMPLETIONS}%2F..", *CHAT) == 2

    out = capsys.readouterr().out
    assert "the request is refused before any grant is asked: ambiguous_path" in out
    assert "nearest grant" not in out


def test_an_ungoverned_host_passes_and_the_policy_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert podkey("explain", "POST", COMPLETIONS, "--policies", INFERENCE) == 0

    out = capsys.readouterr().out
    assert "policy inference/chat (enforce)\n  - not about this pod: the pod is in namespace default\n" in out
    assert out.endswith(
        f"verdict  pass_through [ungoverned_host]\n         {REASONS[Reason.UNGOVERNED_HOST].meaning}\n"
    )


CLUSTER_WIDE = str(EXAMPLES / "cluster-wide")


@pytest.mark.parametrize(
    ("labels", "status", "line"),
    [
        ((), 0, "  - not about this pod: it asks for labels that the namespace team-a is not known to"),
        (("--namespace-label", "tier=prod"), 0, "  + about this pod, by its namespace and every service"),
        (("--namespace-label", "tier=dev"), 0, "  - not about this pod: it asks for labels that the"),
    ],
)
def test_a_cluster_wide_policy_is_about_namespaces_of_these_labels(
    labels: tuple[str, ...], status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pod = ("--policies", CLUSTER_WIDE, "-n", "team-a", "--service-account", "any", *labels)
    url = "https://weights.acme.example/resnet"

    assert podkey("explain", "GET", url, *pod) == status

    out = capsys.readouterr().out
    assert f"policy podkey-system/models (enforce)\n{line}" in out
    granted = "tier=prod" in labels
    assert ("credential podkey-system/models, as bearer" in out) is granted
    assert ("[ungoverned_host]" in out) is not granted


def test_an_observing_policy_says_what_it_would_do(
    observing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pod = ("--policies", observing, "-n", "inference", "--service-account", "chat")

    assert podkey("explain", "GET", "https://api.openai.com/v1/models", *pod) == 0
    assert capsys.readouterr().out.endswith(
        "verdict  pass_through [would_refuse]\n         enforced, it would be: refuse [method_not_granted]\n"
    )


@pytest.mark.parametrize(
    ("argv", "status", "verdict"),
    [
        (
            ("POST", COMPLETIONS, *CHAT),
            0,
            {
                "verdict": "attach",
                "reason": "granted",
                "rule": "inference/chat grants[0]",
                "credential": "inference/openai",
                "attach": "bearer",
                "would": None,
            },
        ),
        (
            ("GET", COMPLETIONS, *CHAT),
            2,
            {
                "verdict": "refuse",
                "reason": "method_not_granted",
                "rule": "inference/chat grants[0]",
                "credential": None,
                "attach": None,
                "would": None,
            },
        ),
        (
            ("POST", f"{COMPLETIONS}%2F..", *CHAT),
            2,
            {
                "verdict": "refuse",
                "reason": "ambiguous_path",
                "rule": None,
                "credential": None,
                "attach": None,
                "would": None,
            },
        ),
        (
            ("GET", "https://example.com/", *CHAT),
            0,
            {
                "verdict": "pass_through",
                "reason": "ungoverned_host",
                "rule": None,
                "credential": None,
                "attach": None,
                "would": None,
            },
        ),
    ],
)
def test_json_has_the_same_keys_for_every_verdict(
    argv: tuple[str, ...], status: int, verdict: dict[str, str | None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert podkey("explain", *argv, "--output", "json") == status

    shown = answer(capsys)
    assert list(shown) == ["verdict", "notes", "policies"]
    assert list(shown["verdict"]) == VERDICT_KEYS
    assert shown["verdict"] == verdict


def test_json_shows_every_policy_and_grant_that_was_considered(capsys: pytest.CaptureFixture[str]) -> None:
    podkey("explain", "GET", COMPLETIONS, *CHAT, "--policies", TRAINING, "--output", "json")

    chat, train = answer(capsys)["policies"]
    assert list(chat) == ["namespace", "name", "mode", "selects", "why", "grants"]
    assert chat["grants"] == [
        {
            "index": 0,
            "target": "openai",
            "covers": False,
            "reason": "method_not_granted",
            "lacks": "GET is not POST",
        },
        {
            "index": 1,
            "target": "vectors.acme.example",
            "covers": False,
            "reason": None,
            "lacks": "does not name the host api.openai.com",
        },
    ]
    assert (train["selects"], train["grants"]) == (False, [])


def test_json_of_an_observed_request_holds_the_verdict_it_would_be(
    observing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pod = ("--policies", observing, "-n", "inference", "--service-account", "chat", "--output", "json")
    podkey("explain", "POST", COMPLETIONS, *pod, "--client-credential", "foreign")

    verdict = answer(capsys)["verdict"]
    assert (verdict["verdict"], verdict["reason"]) == ("pass_through", "would_attach")
    assert list(verdict["would"]) == VERDICT_KEYS
    assert (verdict["would"]["verdict"], verdict["would"]["credential"]) == ("attach", "inference/openai")


def test_what_a_request_holds_cannot_repaint_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    url = "https://s3.eu-central-1.amazonaws.com/acme-datasets?list-type=2&prefix=%1B%5B2J%E2%80%AE"
    pod = ("-n", "training", "--service-account", "trainer", "--label", "app=train-resnet", "--gpu")
    image = ("--image", "registry.acme.example/ml/resnet:v4")

    assert podkey("explain", "GET", url, "--policies", TRAINING, *pod, *image) == 2

    out = capsys.readouterr().out
    assert "\\x1b[2J\\u202e" in out
    assert out.replace("\n", "").isprintable()


# --- S3 ------------------------------------------------------------------------------------------

BUCKET = "https://s3.eu-central-1.amazonaws.com/data"
NOW = ("--at", "2026-03-04T12:00:00Z")
SIGNED = "X-Amz-Date=20260304T115900Z&X-Amz-SignedHeaders=host&X-Amz-Algorithm=AWS4-HMAC-SHA256"
SCOPE = "X-Amz-Credential=AKEY%2F20260304%2Feu-central-1%2Fs3%2Faws4_request"


def presigned(key: str = "x", seconds: int = 900, more: str = "") -> str:
    return f"{BUCKET}/{key}?{SIGNED}&{SCOPE}&X-Amz-Expires={seconds}&X-Amz-Signature={'0' * 64}{more}"


@pytest.fixture
def s3(tmp_path: Path) -> Callable[..., int]:
    """`explain` with a policy for one bucket of Amazon's and one of a store."""

    def asked(*argv: str, foreign: str = "refuse", mode: str = "enforce") -> int:
        what = "buckets: [data], prefixes: [x], access: [read, write, delete], credential: aws"
        (tmp_path / "policy.yaml").write_text(f"""\
apiVersion: podkey.io/v1alpha1
kind: AccessPolicy
metadata: {{name: s3}}
spec:
  workloads: {{serviceAccounts: ["*"]}}
  mode: {mode}
  grants:
    - {{service: s3, foreignPresigned: {foreign}, {what}}}
    - {{service: s3, endpoint: "minio.example.com:9000", {what}}}
---
apiVersion: podkey.io/v1alpha1
kind: CredentialSource
metadata: {{name: aws}}
spec:
  awsStatic: {{secretName: aws}}
""")
        return podkey("explain", *argv, "--policies", str(tmp_path), *NOW)

    return asked


def test_a_store_is_shown_in_its_grants(s3: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert s3("GET", "https://minio.example.com:9000/data/x") == 0
    out = capsys.readouterr().out
    assert "  - grants[0] s3: does not name the host minio.example.com\n" in out
    assert "  + grants[1] s3 at minio.example.com:9000: covers the request\n" in out


def test_a_body_that_names_the_keys_leaves_the_question_open(
    s3: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert s3("POST", f"{BUCKET}?delete") == 1
    assert capsys.readouterr().out.endswith(
        "verdict  read_body\n"
        "         granted as far as its head says, by default/s3 grants[0]\n"
        "         its body names the keys: give them with --delete-key (in --input: deleteKeys)\n"
    )

    assert s3("POST", f"{BUCKET}?delete", "--output", "json") == 1
    assert answer(capsys)["verdict"] == {
        "verdict": "read_body",
        "reason": None,
        "rule": "default/s3 grants[0]",
        "credential": None,
        "attach": None,
        "would": None,
    }


@pytest.mark.parametrize(("keys", "status"), [(("x",), 0), (("x/1", "x/2"), 0), (("x/1", "y"), 2)])
def test_the_keys_of_a_body_may_be_given(
    s3: Callable[..., int], capsys: pytest.CaptureFixture[str], keys: tuple[str, ...], status: int
) -> None:
    flags = [part for key in keys for part in ("--delete-key", key)]
    assert s3("POST", f"{BUCKET}?delete", *flags) == status
    out = capsys.readouterr().out
    assert all(f"         deletes: {key}\n" in out for key in keys)


@pytest.mark.parametrize(("source", "status"), [("data/x/1", 0), ("/data/y", 2), ("secret/x", 2)])
def test_what_is_copied_is_given_as_its_header(
    s3: Callable[..., int], capsys: pytest.CaptureFixture[str], source: str, status: int
) -> None:
    assert s3("PUT", f"{BUCKET}/x/2", "--header", f"x-amz-copy-source: {source}") == status
    out = capsys.readouterr().out
    assert f"copies: {source.lstrip('/')}, which" in out
    assert status == 0 or "verdict  refuse [source_not_granted]" in out


def test_a_presigned_url_is_judged_as_the_pods_own(
    s3: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert s3("GET", presigned()) == 0
    out = capsys.readouterr().out
    assert "presigned; --client-credential foreign asks as somebody else's\n" in out
    assert "verdict  attach [granted]\n" in out
    # Headers that the SDK put into the query count as headers.
    assert s3("PUT", presigned(more="&x-amz-acl=public-read")) == 2
    assert "[action_not_granted]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("url", "reason", "words"),
    [
        (presigned(seconds=30), "presigned_expired", "expired at 2026-03-04 11:59:30 UTC"),
        (presigned(seconds=0), "malformed_presigned", "its date or its lifetime cannot be read"),
    ],
)
def test_a_presigned_url_that_counts_no_more_is_told(
    s3: Callable[..., int], capsys: pytest.CaptureFixture[str], url: str, reason: str, words: str
) -> None:
    assert s3("GET", url) == 2
    out = capsys.readouterr().out
    assert words in out
    assert f"verdict  refuse [{reason}]" in out
    # On trial it goes out as it is.
    assert s3("GET", url, mode="observe") == 0
    assert "verdict  pass_through [would_refuse]" in capsys.readouterr().out


@pytest.mark.parametrize("sent", ["foreign", "absent"])
def test_a_presigned_url_of_somebody_else_passes_where_the_grant_says_so(
    s3: Callable[..., int], capsys: pytest.CaptureFixture[str], sent: str
) -> None:
    argv = ("GET", presigned(), "--client-credential", sent)
    assert s3(*argv) == 2
    out = capsys.readouterr().out
    assert "the URL is one that somebody else has signed" in out
    assert "verdict  refuse [foreign_presigned]" in out

    assert s3(*argv, foreign="pass") == 0
    assert "verdict  pass_through [presigned_elsewhere]" in capsys.readouterr().out
    assert s3("GET", presigned("y"), "--client-credential", sent, foreign="pass") == 2


def test_a_signature_in_another_services_url_is_not_read(
    s3: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert s3("GET", f"https://example.com/x?X-Amz-Signature={'0' * 64}") == 0
    assert "verdict  pass_through [ungoverned_host]" in capsys.readouterr().out


# --- what goes in --------------------------------------------------------------------------------


def test_a_file_says_the_same_as_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert podkey("explain", "POST", COMPLETIONS, *CHAT) == 0
    by_flags = capsys.readouterr().out

    assert podkey("explain", "--policies", INFERENCE, "--input", REQUEST) == 0
    assert capsys.readouterr().out == by_flags


def test_the_file_may_be_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path(REQUEST).read_bytes())))

    assert podkey("explain", "--policies", INFERENCE, "--input", "-") == 0
    assert "verdict  attach [granted]" in capsys.readouterr().out


def test_flags_describe_the_whole_pod(capsys: pytest.CaptureFixture[str]) -> None:
    pod = ("-n", "training", "--service-account", "trainer", "--label", "app=train-resnet", "--label", "run=")
    images = ("--image", "registry.acme.example/ml/resnet:v4", "--image", "registry.acme.example/ml/agent")
    url = "https://acme-datasets.s3.eu-central-1.amazonaws.com/imagenet/train-0001.tar"

    status = podkey("explain", "GET", url, "--policies", TRAINING, *pod, *images, "--gpu")

    assert status == 0
    assert capsys.readouterr().out.startswith(
        "pod      training/trainer (app=train-resnet, run=; asks for an accelerator)\n"
    )


def test_the_moment_may_be_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (EXAMPLES / "03-inference/policy.yaml").read_text()
    validity = "spec:\n  validity: {notAfter: 2030-01-01T00:00:00Z}\n  workloads:"
    policy = tmp_path / "policy.yaml"
    policy.write_text(text.replace("spec:\n  workloads:", validity, 1))
    pod = ("--policies", str(policy), "-n", "inference", "--service-account", "chat")

    assert podkey("explain", "POST", COMPLETIONS, *pod, "--at", "2029-12-31T23:59:59Z") == 0
    assert podkey("explain", "POST", COMPLETIONS, *pod, "--at", "2030-01-01T00:00:01Z") == 2
    assert "verdict  refuse [expired]" in capsys.readouterr().out


def test_headers_and_what_the_application_sent_count(capsys: pytest.CaptureFixture[str]) -> None:
    """The inference example refuses a credential that somebody put into the pod."""
    status = podkey(
        "explain", "POST", COMPLETIONS, *CHAT, "--client-credential", "foreign", "--header", "A: b:c"
    )

    assert status == 2
    assert "verdict  refuse [foreign_credential]" in capsys.readouterr().out


def test_a_host_in_another_script_is_shown_as_both(capsys: pytest.CaptureFixture[str]) -> None:
    podkey("explain", "GET", "https://xn--bcher-kva.example/", *CHAT)

    assert "request  GET b\u00fccher.example (xn--bcher-kva.example); " in capsys.readouterr().out


def test_services_of_the_policy_folder_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "acme.yaml").write_text(
        """\
apiVersion: podkey.io/v1alpha1
kind: CatalogueEntry
metadata: {name: acme}
spec:
  title: Acme
  summary: A service of ours.
  endpoints:
    - hosts: [api.acme.example]
  attach: [{bearer: {}}]
---
apiVersion: podkey.io/v1alpha1
kind: AccessPolicy
metadata: {name: anybody}
spec:
  workloads: {serviceAccounts: ["*"]}
  grants:
    - {service: acme, credential: acme}
---
apiVersion: podkey.io/v1alpha1
kind: CredentialSource
metadata: {name: acme}
spec:
  mountedSecret: {secretName: acme, key: token}
"""
    )

    assert podkey("explain", "GET", "https://api.acme.example/", "--policies", str(tmp_path)) == 0
    assert "credential default/acme, as bearer" in capsys.readouterr().out


# --- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (("--namespace", "A B"), "--namespace: `A B` is not a namespace [bad_value]"),
        (("--service-account", "*"), "--service-account: `*` is not a Kubernetes object name [bad_value]"),
        (("--label", "!x=1"), "--label: `!x` is not a label key [bad_value]"),
        (("--namespace-label", "!x=1"), "--namespace-label: `!x` is not a label key [bad_value]"),
        (("--image", "!"), "--image: `!` is not an image reference [bad_value]"),
        (("--header", "a b: c"), "--header: `a b` is not a header name [bad_value]"),
        (("--at", "noon"), "--at: `noon` is not "),
        (("get", "https://example.com/"), "METHOD: `get` never matches [never_matches]"),
        (("GET", "http://example.com/"), "URL: `http://example.com/` is not an https URL [bad_value]"),
        (("GET", "https://192.0.2.1/"), "URL: `192.0.2.1` is not a host name [bad_value]"),
        (("GET", "https://example.com/" + "a" * (1 << 20)), "the command line: the file has "),
    ],
)
def test_a_flag_that_cannot_be_read_is_named_as_it_was_typed(
    argv: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    request = () if argv[1].startswith("http") else ("GET", "https://example.com/")

    assert podkey("explain", *request, *argv, "--policies", INFERENCE) == 1

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(expected)
    assert "\n    fix: " in err


def test_every_flag_that_cannot_be_read_is_reported_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    podkey("explain", "get", "x", "-n", "A", "--policies", "nowhere")

    heads = [line.partition(":")[0] for line in capsys.readouterr().err.splitlines() if line[0] != " "]
    assert heads == ["nowhere", "--namespace", "METHOD", "URL"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ((), "give METHOD and URL, or --input FILE"),
        (("GET",), "give METHOD and URL, or --input FILE"),
        (("GET", COMPLETIONS, "--input", REQUEST), "--input holds the pod and the request; leave out METHOD"),
        (("--gpu", "--input", REQUEST), "--input holds the pod and the request; leave out METHOD"),
        (("--at", "2030-01-01T00:00:00Z", "--input", REQUEST), "--input holds the pod and the request"),
        (("--policies", "-", "--input", "-"), "--policies and --input cannot both be standard input"),
        (("GET", COMPLETIONS, "--label", "app"), "--label app: write KEY=VALUE"),
        (("GET", COMPLETIONS, "--label", "a=1", "--label", "a=2"), "--label a has two values"),
        (("GET", COMPLETIONS, "--header", "Accept"), "--header Accept: write NAME:VALUE"),
        (("GET", f"{COMPLETIONS}\x7f"), "an argument holds a control character, or bytes that are no text"),
        (("GET", f"{COMPLETIONS}\udcff"), "an argument holds a control character, or bytes that are no text"),
        (
            ("GET", COMPLETIONS, "--client-credential", "x"),
            "argument --client-credential: invalid choice: 'x'",
        ),
    ],
)
def test_flags_that_make_no_sense_are_a_usage_error(
    argv: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert podkey("explain", "--policies", INFERENCE, *argv) == 64

    out, err = capsys.readouterr()
    assert out == ""
    assert f"podkey explain: {message}" in err


def test_policies_are_required(capsys: pytest.CaptureFixture[str]) -> None:
    assert podkey("explain", "GET", COMPLETIONS) == 64
    assert "the following arguments are required: --policies" in capsys.readouterr().err


@pytest.mark.parametrize("output", ["text", "json"])
def test_problems_of_policies_go_to_stderr_and_there_is_no_verdict(
    output: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nobody.yaml").write_text(NOBODY)

    status = podkey("explain", "GET", COMPLETIONS, "--policies", str(tmp_path), "--output", output)

    out, err = capsys.readouterr()
    assert (status, out) == (1, "")
    assert f"{tmp_path}/nobody.yaml:5: spec.workloads.serviceAccounts: " in err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", "request.json:1: `request` is missing"),
        ('{"request": {"method": "GET"}}', "request.json:1: request: `url` is missing"),
        ("", "request.json: 0 documents"),
        ('{"request": [}', "request.json:1: not valid YAML: "),
    ],
)
def test_a_file_that_cannot_be_read_has_its_problems_reported(
    text: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "request.json"
    file.write_text(text)

    assert podkey("explain", "--policies", INFERENCE, "--input", str(file)) == 1

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"{tmp_path}/{expected}")


@pytest.mark.parametrize(
    ("path", "message"), [("nowhere.json", "No such file or directory"), (INFERENCE, "Is a directory")]
)
def test_an_input_that_is_no_file_is_a_problem(
    path: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert podkey("explain", "--policies", INFERENCE, "--input", path) == 1
    assert capsys.readouterr().err.startswith(f"{path}: cannot be read: {message} [unreadable_file]\n")


def test_the_examples_of_the_help_are_about_governed_hosts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An example that shows how nothing happens would teach nothing."""
    monkeypatch.chdir(ROOT)
    podkey("explain", "--help")
    examples = [arguments_of(line) or [] for line in example_lines(capsys.readouterr().out)]

    for words in examples:
        podkey(*words)

    out = capsys.readouterr().out
    verdicts = [line.split()[1] for line in out.splitlines() if line.startswith("verdict ")]
    assert verdicts == ["refuse", "attach", "attach"]
