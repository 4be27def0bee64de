import os
from pathlib import Path

import pytest

from proxy.core.credentials import CredentialSource
from proxy.core.hosts import Hostname
from proxy.core.services import Catalogue
from proxy.documents.yaml_nodes import MAX_FILE_BYTES
from proxy.edge.policy_state import MAX_SHOWN_PROBLEMS, LoadedPolicy, PolicyFolder, PolicyState
from tests.judge_world import POD, SOURCES, policy
from tests.kubelet_volume import KubeletVolume

HOST = Hostname("api.example.com")
OTHER = Hostname("other.example.com")
POLICY = policy("{hosts: [api.example.com], credential: a}")
ANOTHER = policy("{hosts: [other.example.com], credential: b}")


@pytest.fixture
def folder(tmp_path: Path, catalogue: Catalogue) -> PolicyFolder:
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "sources.yaml").write_text(SOURCES)
    return PolicyFolder(tmp_path, catalogue)


def loaded(folder: PolicyFolder) -> LoadedPolicy:
    found = folder.load()
    assert isinstance(found, LoadedPolicy), found
    return found


def refusal(folder: PolicyFolder) -> str:
    found = folder.load()
    assert isinstance(found, str)
    return found


class Sources:
    """Remembers which credential sources are to be used."""

    def __init__(self) -> None:
        self.used: list[list[str]] = []

    def __call__(self, sources: tuple[CredentialSource, ...]) -> None:
        self.used.append([source.name for source in sources])


def governed(state: PolicyState, host: Hostname) -> bool:
    pod = state()
    return pod.policies.for_pod(pod.identity).rules_for(host).outside is None


# --- the folder ------------------------------------------------------------------------------------------


def test_a_folder_of_documents_is_compiled(folder: PolicyFolder) -> None:
    policy_ = loaded(folder)

    assert policy_.counted == 6
    assert {source.name for source in policy_.sources} == {"a", "b", "plain", "aws", "aws2"}
    assert len(policy_.sha256) == 64
    assert "api.example.com" not in repr(policy_)


def test_a_mounted_config_map_is_read(tmp_path: Path, catalogue: Catalogue) -> None:
    volume = KubeletVolume(tmp_path / "policy", {"p.yaml": (POLICY + SOURCES).encode()})

    assert loaded(PolicyFolder(volume.folder, catalogue)).counted == 6


def test_its_digest_names_its_content(folder: PolicyFolder) -> None:
    first = loaded(folder).sha256
    assert loaded(folder).sha256 == first

    (folder.path / "policy.yaml").write_text(ANOTHER)

    assert loaded(folder).sha256 != first


def test_no_documents_grant_nothing_soundly(tmp_path: Path, catalogue: Catalogue) -> None:
    assert loaded(PolicyFolder(tmp_path, catalogue)).counted == 0


def test_a_missing_folder_is_told(tmp_path: Path, catalogue: Catalogue) -> None:
    assert "No such file" in refusal(PolicyFolder(tmp_path / "missing", catalogue))


def test_one_file_that_cannot_be_read_spoils_all(folder: PolicyFolder) -> None:
    """With it the rest could mean something else."""
    (folder.path / "more.yaml").symlink_to("nowhere")

    message = refusal(folder)

    assert "more.yaml does not exist" in message


def test_a_file_that_is_too_large_is_told(folder: PolicyFolder) -> None:
    (folder.path / "large.yaml").write_bytes(b"#" * (MAX_FILE_BYTES + 1))

    assert "large.yaml" in refusal(folder)


def test_problems_are_told_with_their_fix(folder: PolicyFolder) -> None:
    (folder.path / "policy.yaml").write_text(POLICY.replace("credential: a", "credential: missing"))

    message = refusal(folder)

    assert "policy.yaml" in message
    assert "missing" in message


def test_of_many_problems_some_are_told_and_the_number_of_the_others(folder: PolicyFolder) -> None:
    text = "".join(policy("{hosts: [x.example.com], credential: m}", name=f"p{n}") for n in range(30))
    (folder.path / "policy.yaml").write_text(text)

    message = refusal(folder)

    assert message.count(" | ") == MAX_SHOWN_PROBLEMS
    assert "and 20 more: see podkey check" in message


# --- the state ---------------------------------------------------------------------------------------


def test_requests_are_judged_by_what_is_in_force(folder: PolicyFolder) -> None:
    sources = Sources()
    policy_ = loaded(folder)
    state = PolicyState(policy_, POD, frozenset({"placeholder"}), sources)

    assert governed(state, HOST)
    assert not governed(state, OTHER)
    assert state().identity is POD
    assert "placeholder" in state().placeholders
    assert (state.sha256, state.files) == (policy_.sha256, policy_.files)
    assert len(sources.used) == 1


def test_a_new_policy_replaces_the_old_one_as_a_whole(folder: PolicyFolder) -> None:
    sources = Sources()
    state = PolicyState(loaded(folder), POD, frozenset(), sources)
    before = state()
    (folder.path / "policy.yaml").write_text(ANOTHER)

    state.replace_policy(loaded(folder))

    assert state() is not before
    assert governed(state, OTHER)
    assert not governed(state, HOST)
    assert before.policies.for_pod(POD).rules_for(HOST).outside is None
    assert len(sources.used) == 2


def test_a_bad_policy_keeps_the_old_one(folder: PolicyFolder) -> None:
    state = PolicyState(loaded(folder), POD, frozenset(), Sources())
    before = state()

    found = folder.compile({"policy.yaml": b"{"})

    assert isinstance(found, str)
    assert state() is before
    assert governed(state, HOST)


def test_new_labels_may_select_other_policies(tmp_path: Path, catalogue: Catalogue) -> None:
    workloads = "{serviceAccounts: [trainer], podSelector: {matchLabels: {team: speech}}}"
    (tmp_path / "p.yaml").write_text(
        policy("{hosts: [api.example.com], credential: a}", workloads=workloads) + SOURCES
    )
    state = PolicyState(loaded(PolicyFolder(tmp_path, catalogue)), POD, frozenset(), Sources())
    assert not governed(state, HOST)

    state.replace_identity(type(POD)(POD.namespace, POD.service_account, labels={"team": "speech"}))

    assert governed(state, HOST)


def test_without_a_file_of_placeholders_the_catalogues_shapes_count(folder: PolicyFolder) -> None:
    any_pod = PolicyState(loaded(folder), POD, frozenset(), Sources())()
    this_pod = PolicyState(loaded(folder), POD, frozenset({"x"}), Sources())()

    assert any_pod.placeholders.shapes
    assert any_pod.placeholders.values == frozenset()
    assert this_pod.placeholders.values == {"x"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_told(folder: PolicyFolder) -> None:
    folder.path.chmod(0)
    try:
        assert "Permission denied" in refusal(folder)
    finally:
        folder.path.chmod(0o700)
