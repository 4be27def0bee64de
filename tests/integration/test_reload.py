"""What changes while the sidecar runs: policy, secrets and labels, as the kubelet brings them."""

from collections.abc import Mapping

from tests.canary import Canary
from tests.netns import requires_netns
from tests.pod_world import Session, fetch, policy, secret, upstream_for
from tests.sidecar_pod import SidecarPod, wait_for

pytestmark = requires_netns

API = "api.openai.com"
MODELS, FILES = "/v1/models", "/v1/files"
# The sidecar looks once a second, and reads what it found twice.
SECONDS = 5.0


def grant(*paths: str, workloads: Mapping[str, object] | None = None) -> str:
    return policy({"service": "openai", "paths": list(paths)}, workloads=workloads)


def test_a_new_policy_holds_without_a_restart_also_on_open_connections(
    pod: SidecarPod, canary: Canary
) -> None:
    with upstream_for(pod, API):
        sidecar = pod.start_sidecar(grant(MODELS, FILES), secret(canary.secret("openai key")))
        applied = sidecar.metric("podkey_policy_reloads_total", outcome="applied")
        with Session(pod, API) as session:
            assert session.get(FILES).status == 200

            pod.write_policy(grant(MODELS))

            wait_for(lambda: session.get(FILES).status == 403, "the narrower policy", SECONDS)
            assert session.get(MODELS).status == 200

    assert sidecar.metric("podkey_policy_reloads_total", outcome="applied") == applied + 1
    (line,) = sidecar.wait_log("policy applied")
    assert sidecar.metric("podkey_policy_info", sha256=line["policy"]) == 1
    assert sidecar.metric("podkey_policy_info") == 1  # of the one policy that is in force


def test_a_host_that_a_new_policy_names_is_governed_from_then_on(pod: SidecarPod, canary: Canary) -> None:
    key = canary.secret("openai key")
    with upstream_for(pod, API) as upstream:
        pod.start_sidecar(policy({"service": "huggingface", "pins": {"org": ["acme"]}}), secret(key))
        done = pod.run_app(["curl", "-sS", "-o", "/dev/null", f"https://{API}{MODELS}"])
        assert done.returncode == 0, done.stderr  # relayed, to whatever the name leads to
        assert upstream.requests[0].header("authorization") == []

        pod.write_policy(grant(MODELS))

        def attached() -> bool:
            fetch(pod, API, MODELS)
            return upstream.requests[-1].header("authorization") == [f"Bearer {key}"]

        wait_for(attached, "the credential", SECONDS)


def test_a_bad_policy_changes_nothing_and_is_told_loudly(pod: SidecarPod, canary: Canary) -> None:
    with upstream_for(pod, API):
        sidecar = pod.start_sidecar(grant(MODELS), secret(canary.secret("openai key")))
        first = sidecar.wait_log("listening")[0]["policy"]

        for number, garbage in enumerate(("spec: [", grant("v1/models"), "\x00\x01\x02"), 1):
            pod.write_policy(garbage)

            lines = sidecar.wait_log("policy rejected, the old one stays in force", SECONDS, count=number)
            assert (lines[-1]["level"], lines[-1]["policy"]) == ("error", first)
            assert "policy.yaml" in lines[-1]["why"]
            assert sidecar.metric("podkey_policy_reloads_total", outcome="rejected") == number
            assert sidecar.metric("podkey_policy_info", sha256=first) == 1
            assert fetch(pod, API, MODELS).status == 200
            assert fetch(pod, API, FILES).status == 403
        assert sidecar.get("/readyz")[0] == 200

        pod.write_policy(grant(MODELS, FILES))

        wait_for(lambda: fetch(pod, API, FILES).status == 200, "the mended policy", SECONDS)


def test_a_policy_folder_that_vanishes_changes_nothing(pod: SidecarPod, canary: Canary) -> None:
    with upstream_for(pod, API):
        sidecar = pod.start_sidecar(grant(MODELS), secret(canary.secret("openai key")))

        pod.policy_folder.rename(pod.private / "elsewhere")

        (line,) = sidecar.wait_log("the policy folder cannot be read, the old policy stays", SECONDS)
        assert line["level"] == "error"
        assert fetch(pod, API, MODELS).status == 200
        assert fetch(pod, API, FILES).status == 403

        (pod.private / "elsewhere").rename(pod.policy_folder)
        pod.write_policy(grant(MODELS, FILES))

        wait_for(lambda: fetch(pod, API, FILES).status == 200, "the next policy", SECONDS)


def test_an_emptied_policy_grants_nothing_any_more(pod: SidecarPod, canary: Canary) -> None:
    """It is no accident to be mended: whoever deletes the last grant means it."""
    with upstream_for(pod, API) as upstream:
        pod.start_sidecar(grant(MODELS), secret(canary.secret("openai key")))
        fetch(pod, API, MODELS)
        assert upstream.requests[-1].header("authorization") != []

        pod.write_policy("")

        def is_bare() -> bool:
            fetch(pod, API, MODELS)
            return upstream.requests[-1].header("authorization") == []

        wait_for(is_bare, "the end of the grant", SECONDS)


def test_a_rotated_secret_is_used_at_once_and_the_old_one_no_more(pod: SidecarPod, canary: Canary) -> None:
    first, second = canary.secret("first key"), canary.secret("second key")
    with upstream_for(pod, API) as upstream:
        sidecar = pod.start_sidecar(grant(MODELS), secret(first))
        with Session(pod, API) as session:
            assert session.get(MODELS).status == 200
            assert upstream.requests[-1].header("authorization") == [f"Bearer {first}"]

            pod.write_secret("api-key", {"key": second.encode()})

            def rotated() -> bool:
                assert session.get(MODELS).status == 200
                return upstream.requests[-1].header("authorization") == [f"Bearer {second}"]

            wait_for(rotated, "the second key", SECONDS)
            upstream.clear()
            assert session.get(MODELS).status == 200
            assert not upstream.seen(first)
    ids = list(dict.fromkeys(record["leaseId"] for record in sidecar.audit()))
    assert len(ids) == 2


def test_a_label_brings_a_policy_and_takes_it_away(pod: SidecarPod, canary: Canary) -> None:
    key = canary.secret("openai key")
    selector = {"podSelector": {"matchLabels": {"app": "llama"}}}
    with upstream_for(pod, API) as upstream:
        pod.write_labels({"app": "notebook"})
        pod.start_sidecar(grant(MODELS, workloads=selector), secret(key))

        def is_attached() -> bool:
            fetch(pod, API, MODELS)
            return upstream.requests[-1].header("authorization") == [f"Bearer {key}"]

        assert not is_attached()

        pod.write_labels({"app": "llama", "pod-template-hash": "5d5f"})
        wait_for(is_attached, "the label's policy", SECONDS)

        pod.write_labels({"app": "notebook"})
        wait_for(lambda: not is_attached(), "the end of the policy", SECONDS)
    assert len(pod.sidecar.wait_log("labels applied", count=2)) == 2


def test_labels_that_cannot_be_read_change_nothing(pod: SidecarPod, canary: Canary) -> None:
    with upstream_for(pod, API):
        pod.write_labels({"app": "llama"})
        selector = {"podSelector": {"matchLabels": {"app": "llama"}}}
        pod.start_sidecar(grant(MODELS, workloads=selector), secret(canary.secret("openai key")))

        pod.labels_file.write_text("app: llama")

        pod.sidecar.wait_log("the labels cannot be read, the old ones count", SECONDS)
        assert fetch(pod, API, FILES).status == 403  # governed still
