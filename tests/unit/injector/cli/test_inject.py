import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.command_line import ROOT, podkey

JOB = str(ROOT / "examples" / "02-training-job" / "job.json")
POLICIES = str(ROOT / "examples" / "02-training-job")

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: app, namespace: ml}
spec: {containers: [{name: app, image: "registry.test/app:1", securityContext: {runAsUser: 1000}}]}
"""
NAMESPACE = """\
apiVersion: v1
kind: Namespace
metadata: {name: ml, labels: {podkey.io/inject: all, level: 3}}
---
"""
SERVICE = "---\napiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: ml}\n"
POLICY = """\
apiVersion: podkey.io/v1alpha1
kind: AccessPolicy
metadata: {name: app}
spec:
  workloads: {serviceAccounts: [default]}
  grants: [{service: openai, credential: key}]
---
apiVersion: podkey.io/v1alpha1
kind: CredentialSource
metadata: {name: key}
spec: {mountedSecret: {secretName: openai, key: token}}
---
apiVersion: podkey.io/v1alpha1
kind: CatalogueEntry
metadata: {name: acme}
spec:
  title: Acme
  summary: An API.
  endpoints: [{hosts: [api.acme.example]}]
  attach: [{bearer: {}}]
"""


@pytest.fixture
def given(tmp_path: Path) -> Any:
    def write(text: str, name: str = "pod.yaml") -> str:
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    status = podkey("inject", *argv)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_the_pod_goes_to_standard_output_and_the_reasons_beside_it(
    given: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, "-f", given(NAMESPACE + POD))
    [pod] = yaml.safe_load_all(out)

    assert status == 0
    assert [one["name"] for one in pod["spec"]["initContainers"]] == ["podkey-redirect", "podkey"]
    assert "&id" not in out
    assert err == (
        "pod      Pod ml/app (namespace podkey.io/inject: all)\n"
        "outcome  inject\n"
        "       + the namespace's label `podkey.io/inject` is `all` [every_pod]\n"
        "       ! no AccessPolicy selects the pod: nothing is granted [no_policy]\n"
    )


def test_a_namespace_that_is_not_given_is_taken_for_an_enabled_one(
    given: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, "-f", given(POD), "--output", "reasons")

    assert status == 0
    assert err == (
        "note     namespace ml is taken for one with the label podkey.io/inject=enabled (--namespace-label)\n"
    )
    assert out == (
        "pod      Pod ml/app (namespace podkey.io/inject: enabled)\n"
        "outcome  skip\n"
        "       - the pod asks for no accelerator, and no policy selects it [not_needed]\n"
    )
    _, out, err = run(
        capsys, "-f", given(POD), "--output", "reasons", "--namespace-label", "podkey.io/inject=all"
    )
    assert (err, "every_pod" in out) == ("", True)


def test_a_pod_that_is_skipped_is_printed_as_it_is(given: Any, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "-f", given(POD))

    assert yaml.safe_load(out) == yaml.safe_load(POD)


def test_a_refusal_is_status_2_and_prints_no_pod(given: Any, capsys: pytest.CaptureFixture[str]) -> None:
    pod = POD.replace("spec: {", "spec: {shareProcessNamespace: true, ")
    status, out, err = run(capsys, "-f", given(NAMESPACE + pod))

    assert (status, out) == (2, "")
    assert "outcome  refuse\n       - `shareProcessNamespace` is true [shared_processes]\n" in err


def test_what_is_there_already_is_said(given: Any, capsys: pytest.CaptureFixture[str]) -> None:
    _, made, _ = run(capsys, "-f", given(NAMESPACE + POD))
    status, out, err = run(capsys, "-f", given(NAMESPACE + made), "--output", "patch")

    assert (status, out) == (0, "[]\n")
    assert err.endswith("\n         it has everything already\n")


def test_a_patch_is_one_of_one_pod_and_several_of_several(
    given: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    _, one, _ = run(capsys, "-f", given(NAMESPACE + POD), "--output", "patch")
    _, several, err = run(capsys, "-f", given(f"{NAMESPACE}{POD}---\n{POD}"), "--output", "patch")

    assert {operation["op"] for operation in json.loads(one)} == {"add"}
    assert json.loads(several) == [json.loads(one)] * 2
    assert err.count("pod      ") == 2
    assert "\n\npod " in err


def test_json_holds_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "-f", JOB, "--policies", POLICIES, "--output", "json")
    [one] = json.loads(out)

    assert status == 0
    assert one.keys() == {"pod", "namespace", "outcome", "reasons", "warnings", "patch", "patched"}
    assert (one["pod"], one["namespace"], one["outcome"]) == (
        "Job training/train-resnet",
        "training",
        "inject",
    )
    assert [reason["code"] for reason in one["reasons"]] == ["accelerator", "policy_selects"]
    assert one["patched"]["spec"]["volumes"][-1]["secret"]["secretName"] == "wandb"
    assert err.startswith("note     namespace training is taken for")


def test_placeholders_are_drawn_and_fixed_ones_are_the_same_each_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    argv = ("-f", JOB, "--policies", POLICIES)
    fixed = {run(capsys, *argv, "--placeholders", "fixed")[1] for _ in range(2)}
    drawn = {run(capsys, *argv)[1] for _ in range(2)}

    assert (len(fixed), len(drawn), len(fixed | drawn)) == (1, 2, 3)


def test_documents_without_a_namespace_are_of_the_default_one(
    given: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    pod = POD.replace(", namespace: ml", "")
    policies = given(POLICY, "policies.yaml")
    _, out, _ = run(capsys, "-f", given(pod), "--policies", policies, "--output", "reasons")
    _, elsewhere, _ = run(
        capsys, "-f", given(pod), "--policies", policies, "--output", "reasons", "-n", "other"
    )

    assert "it is selected by `default/app` [policy_selects]" in out
    assert "not_needed" in elsewhere


def test_the_cluster_and_the_settings_can_be_told(given: Any, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ("-f", given(NAMESPACE + POD), "--output", "json")
    _, old, _ = run(capsys, *argv, "--old-kubelets", "--image", "registry.test/podkey:2")
    _, own, _ = run(capsys, *argv, "--own-namespace", "ml")

    [pod] = json.loads(old)
    assert [one["name"] for one in pod["patched"]["spec"]["containers"]] == ["podkey", "app"]
    assert pod["patched"]["spec"]["containers"][0]["image"] == "registry.test/podkey:2"
    assert json.loads(own)[0]["reasons"][0]["code"] == "protected_namespace"


def test_what_makes_no_pods_is_left_out_with_a_note(given: Any, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "-f", given(NAMESPACE + POD + SERVICE))

    assert status == 0
    assert ": Service ml/web has no pod template that podkey knows of: left out\n" in err


def test_standard_input_is_read(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.TextIOWrapper(io.BytesIO((NAMESPACE + POD).encode()))
    monkeypatch.setattr(sys, "stdin", text)

    assert run(capsys, "-f", "-", "--output", "reasons")[1].startswith("pod      Pod ml/app")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "pod.yaml: there are no pods in it [no_documents]"),
        (NAMESPACE, "pod.yaml: there are no pods in it [no_documents]"),
        (SERVICE, "pod.yaml:2: Service ml/web has no pod template that podkey knows of [unknown_kind]"),
        ("a: [", "pod.yaml:1: not valid YAML"),
        (POD + "---\na: !!set {b}\n", "pod.yaml:6: the YAML tag `tag:yaml.org,2002:set` is not supported"),
    ],
)
def test_problems_of_the_input_are_status_1_and_nothing_is_printed(
    text: str, message: str, given: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, "-f", given(text))

    assert (status, out) == (1, "")
    assert message in err


def test_problems_of_policies_are_told_like_podkey_check_tells_them(
    given: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    policies = given(POLICY.replace("credential: key", "credential: kee"), "policies.yaml")
    status, out, err = run(capsys, "-f", given(POD), "--policies", policies)

    assert (status, out) == (1, "")
    assert "[unknown_credential]" in err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--policies", "-", "-f", "-"), "--filename and --policies cannot both be standard input"),
        (("-f", JOB, "--namespace-label", "x"), "--namespace-label x: write KEY=VALUE"),
        (("-f", JOB, "--on-danger", "shrug"), "--on-danger: "),
        (("-f", JOB, "--own-namespace", "No!"), "--own-namespace: "),
        ((), "the following arguments are required: -f/--filename"),
    ],
)
def test_misuse_is_status_64(argv: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, *argv)

    assert (status, out) == (64, "")
    assert f"podkey inject: {message}" in err
