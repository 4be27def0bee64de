import os
from pathlib import Path

import pytest

from proxy.core.credentials import CredentialRef
from proxy.core.evidence import Unverified
from proxy.core.hosts import Hostname
from proxy.core.identity import Claim
from proxy.core.lease import LeaseKey, NoLease
from proxy.core.policy import Mode
from proxy.core.request import RequestFacts
from proxy.core.services import Catalogue
from proxy.core.structs import replace
from proxy.core.verdict import Attach, PassThrough, Refuse
from proxy.documents.yaml_nodes import MAX_FILE_BYTES
from proxy.edge.attestation import Attested
from proxy.edge.policy_state import (
    MAX_SHOWN_PROBLEMS,
    LoadedPolicy,
    PolicyFolder,
    PolicyState,
    RejectedPolicy,
    Withdrawal,
)
from proxy.judge.decide import decide
from proxy.tokens.pod_token import Verified
from proxy.transaction.pod import DEFAULT_HASHED_BODY, PodState
from tests.judge_world import NOON, POD, PROOF, SOURCES, policy
from tests.kubelet_volume import KubeletVolume

HOST = Hostname("api.example.com")
OTHER = Hostname("other.example.com")
# The source that POLICY names.
GONE = CredentialRef("ml", "a")
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


def rejected(found: LoadedPolicy | RejectedPolicy) -> RejectedPolicy:
    assert isinstance(found, RejectedPolicy), found
    return found


def refusal(folder: PolicyFolder) -> str:
    return rejected(folder.load()).why


def in_force(
    loaded_policy: LoadedPolicy, told: list[PodState] | None = None, placeholders: tuple[str, ...] = ()
) -> PolicyState:
    changed = told.append if told is not None else lambda _state: None
    return PolicyState(loaded_policy, POD, frozenset(placeholders), changed, lambda: NOON)


def governed(state: PolicyState, host: Hostname) -> bool:
    pod = state()
    return pod.policies.for_pod(pod.identity).rules_for(host).outside is None


def granted(state: PolicyState, host: Hostname) -> bool:
    """Whether a plain request would get a credential."""
    pod = state()
    facts = RequestFacts.of(host, "GET", "/")
    return isinstance(decide(pod.policies, pod.identity, facts, NOON), Attach)


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


def test_a_pod_that_observes_is_refused_nothing_and_still_gets_what_is_granted(folder: PolicyFolder) -> None:
    trial = policy("{hosts: [api.example.com], credential: b}", name="trial", mode="observe")
    (folder.path / "trial.yaml").write_text(trial)
    watching = replace(folder, mode=Mode.OBSERVE)
    assert loaded(folder).sha256 == loaded(watching).sha256
    refused = RequestFacts.of(HOST, "GET", "/a%2Fb")
    for one, kind in ((folder, Refuse), (watching, PassThrough)):
        state = in_force(loaded(one))
        pod = state()
        # Policies on trial do not begin to count: they would make the grant an ambiguous one.
        assert granted(state, HOST)
        assert isinstance(decide(pod.policies, pod.identity, refused, NOON), kind)
        assert not governed(state, OTHER)


def test_a_pod_that_observes_does_so_after_a_withdrawal(folder: PolicyFolder) -> None:
    watching = replace(folder, mode=Mode.OBSERVE)
    state = in_force(loaded(watching))
    (folder.path / "policy.yaml").write_text(policy("{service: gone, credential: a}", name="broken"))
    assert state.withdraw(rejected(watching.load())).policies == ["ml/p"]
    assert not granted(state, HOST)
    pod = state()
    verdict = decide(pod.policies, pod.identity, RequestFacts.of(HOST, "GET", "/"), NOON)
    assert isinstance(verdict, PassThrough)


def test_a_cluster_wide_policy_is_in_force_with_the_sources_of_its_own_namespace(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    who = "{serviceAccounts: ['*'], namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ml}}}"
    wide = policy("{hosts: [api.example.com], credential: a}", namespace="podkey-system", workloads=who)
    (tmp_path / "policy.yaml").write_text(wide)
    (tmp_path / "sources.yaml").write_text(SOURCES.replace("namespace: ml", "namespace: podkey-system"))
    state = in_force(loaded(PolicyFolder(tmp_path, catalogue)))
    assert granted(state, HOST)
    ref = CredentialRef("podkey-system", "a")
    assert isinstance(state().leases[ref], LeaseKey)
    # Taken away for certain, it grants nothing any more.
    (tmp_path / "policy.yaml").write_text(ANOTHER)
    found = state.withdraw(rejected(PolicyFolder(tmp_path, catalogue).load()))
    assert found.policies == ["podkey-system/p"]
    assert (granted(state, HOST), governed(state, HOST)) == (False, True)


# --- the state ---------------------------------------------------------------------------------------


def test_requests_are_judged_by_what_is_in_force(folder: PolicyFolder) -> None:
    policy_ = loaded(folder)
    state = in_force(policy_, placeholders=("placeholder",))

    assert governed(state, HOST)
    assert not governed(state, OTHER)
    assert state().identity is POD
    assert "placeholder" in state().placeholders
    assert (state.sha256, state.files) == (policy_.sha256, policy_.files)


def test_a_new_policy_replaces_the_old_one_as_a_whole(folder: PolicyFolder) -> None:
    told: list[PodState] = []
    state = in_force(loaded(folder), told)
    before = state()
    assert told == []
    (folder.path / "policy.yaml").write_text(ANOTHER)

    state.replace_policy(loaded(folder))

    assert state() is not before
    assert governed(state, OTHER)
    assert not governed(state, HOST)
    assert before.policies.for_pod(POD).rules_for(HOST).outside is None
    assert [one is state() for one in told] == [True]


def test_a_bad_policy_keeps_the_old_one(folder: PolicyFolder) -> None:
    state = in_force(loaded(folder))
    before = state()

    rejected(folder.compile({"policy.yaml": b"{"}))

    assert state() is before
    assert governed(state, HOST)


def test_new_labels_may_select_other_policies(tmp_path: Path, catalogue: Catalogue) -> None:
    workloads = "{serviceAccounts: [trainer], podSelector: {matchLabels: {team: speech}}}"
    (tmp_path / "p.yaml").write_text(
        policy("{hosts: [api.example.com], credential: a}", workloads=workloads) + SOURCES
    )
    state = in_force(loaded(PolicyFolder(tmp_path, catalogue)))
    assert not governed(state, HOST)

    state.replace_identity(type(POD)(POD.namespace, POD.service_account, labels={"team": "speech"}))

    assert governed(state, HOST)


def test_without_a_file_of_placeholders_the_catalogues_shapes_count(folder: PolicyFolder) -> None:
    any_pod = in_force(loaded(folder))()
    this_pod = in_force(loaded(folder), placeholders=("x",))()

    assert any_pod.placeholders.shapes
    assert any_pod.placeholders.values == frozenset()
    assert this_pod.placeholders.values == {"x"}


# --- what a rejected policy takes away ---------------------------------------------------------------


def documents(folder: PolicyFolder, **files: str) -> None:
    """The folder holds these, and nothing else."""
    for file in folder.path.iterdir():
        file.unlink()
    for name, text in files.items():
        (folder.path / f"{name}.yaml").write_text(text)


def sources_without(*names: str) -> str:
    return "---\n".join(
        one for one in SOURCES.split("---\n") if not any(f"{{name: {name}," in one for name in names)
    )


# Nothing else is touched by it, and while it is there every policy is rejected.
BAD = policy("{hosts: [bad.example.com], credential: nowhere}", name="bad")
BOTH = policy(
    "{hosts: [api.example.com], credential: a}, {hosts: [other.example.com], credential: b}", name="p"
)


def rejected_now(folder: PolicyFolder, **files: str) -> RejectedPolicy:
    documents(folder, **files, bad=BAD)
    return rejected(folder.load())


def test_what_is_still_there_stays_as_it_is_and_nobody_is_told(folder: PolicyFolder) -> None:
    told: list[PodState] = []
    state = in_force(loaded(folder), told)
    before = state()

    gone = state.withdraw(rejected_now(folder, policy=POLICY, sources=SOURCES))

    assert gone == Withdrawal([], [])
    assert state() is before
    assert told == []


def test_a_source_that_is_gone_counts_no_more_though_the_rest_of_the_policy_stays(
    folder: PolicyFolder,
) -> None:
    told: list[PodState] = []
    state = in_force(loaded(folder), told)
    bad = rejected_now(folder, policy=POLICY, sources=sources_without("a", "aws"))

    assert state.withdraw(bad) == Withdrawal(["ml/a", "ml/aws"], [])

    assert governed(state, HOST)
    assert isinstance(told[-1].leases[GONE], NoLease)
    assert told[-1].withdrawn == state().withdrawn == {GONE, CredentialRef("ml", "aws")}
    # The same again changes nothing, and nobody is told.
    assert state.withdraw(bad).sources == ["ml/a", "ml/aws"]
    assert len(told) == 1


def test_a_source_that_means_something_else_counts_as_gone(folder: PolicyFolder) -> None:
    state = in_force(loaded(folder))
    changed = SOURCES.replace("{secretName: a, key: k}", "{secretName: another, key: k}")

    assert state.withdraw(rejected_now(folder, policy=POLICY, sources=changed)).sources == ["ml/a"]
    assert isinstance(state().leases[GONE], NoLease)


def test_a_policy_that_is_gone_grants_no_more_and_still_governs(folder: PolicyFolder) -> None:
    documents(folder, one=POLICY, other=ANOTHER.replace("name: p,", "name: q,"), sources=SOURCES)
    state = in_force(loaded(folder))
    assert granted(state, HOST)

    gone = state.withdraw(
        rejected_now(folder, other=ANOTHER.replace("name: p,", "name: q,"), sources=SOURCES)
    )

    assert gone == Withdrawal([], ["ml/p"])
    assert not granted(state, HOST)
    assert governed(state, HOST)
    assert granted(state, OTHER)


def test_no_policy_on_trial_takes_the_place_of_one_that_is_gone(folder: PolicyFolder) -> None:
    """Neither the old folder nor the new one allows what a mixture of both might."""
    trial = policy("{hosts: [api.example.com], credential: a}", name="trial", mode="observe")
    documents(folder, one=POLICY, trial=trial, sources=SOURCES)
    state = in_force(loaded(folder))

    state.withdraw(rejected_now(folder, trial=trial, sources=SOURCES))

    assert not granted(state, HOST)
    assert GONE not in state().leases


def test_the_last_policy_that_is_gone_leaves_nothing_granted(folder: PolicyFolder) -> None:
    state = in_force(loaded(folder))

    state.withdraw(rejected_now(folder, sources=SOURCES))

    assert not granted(state, HOST)
    assert state().leases == {}


@pytest.mark.parametrize(
    "now",
    [
        policy("{hosts: [api.example.com], credential: a}"),
        BOTH.replace("[other.example.com],", "[other.example.com], methods: [GET],"),
        BOTH.replace("serviceAccounts: [trainer]", "serviceAccounts: [other]"),
    ],
)
def test_a_policy_that_was_edited_waits_for_the_rest_to_be_sound(folder: PolicyFolder, now: str) -> None:
    documents(folder, policy=BOTH, sources=SOURCES)
    state = in_force(loaded(folder))

    assert state.withdraw(rejected_now(folder, policy=now, sources=SOURCES)) == Withdrawal([], [])

    assert granted(state, HOST)
    assert granted(state, OTHER)


def test_a_grant_that_is_new_waits_for_a_policy_that_is_sound(folder: PolicyFolder) -> None:
    state = in_force(loaded(folder))

    gone = state.withdraw(rejected_now(folder, policy=BOTH, sources=SOURCES))

    assert gone.policies == []
    assert not governed(state, OTHER)


@pytest.mark.parametrize("broken", ["{", "\xff", "kind: CredentialSource\n"])
def test_what_is_broken_is_not_taken_for_removed(folder: PolicyFolder, broken: str) -> None:
    state = in_force(loaded(folder))
    before = state()
    for file in ("policy.yaml", "sources.yaml"):
        (folder.path / file).write_bytes(broken.encode("latin-1"))

    assert state.withdraw(rejected(folder.load())) == Withdrawal([], [])
    assert state() is before


def test_what_is_missing_beside_something_that_cannot_be_read_may_be_in_it(folder: PolicyFolder) -> None:
    state = in_force(loaded(folder))
    documents(folder, policy="{")

    assert state.withdraw(rejected(folder.load())) == Withdrawal([], [])
    assert granted(state, HOST)


def test_what_was_taken_away_does_not_come_back_with_a_worse_folder(folder: PolicyFolder) -> None:
    documents(folder, one=POLICY, other=ANOTHER.replace("name: p,", "name: q,"), sources=SOURCES)
    state = in_force(loaded(folder))
    gone = state.withdraw(rejected_now(folder, sources=sources_without("a")))
    assert gone == Withdrawal(["ml/a"], ["ml/p", "ml/q"])

    documents(folder, other="{", sources="{")
    assert state.withdraw(rejected(folder.load())) == gone
    assert state.withdraw(RejectedPolicy("podkey failed on it")) == gone
    faulty = POLICY.replace("hosts:", "hots:")
    assert state.withdraw(rejected_now(folder, one=faulty, sources=sources_without("a"))) == gone

    assert not granted(state, HOST)
    assert not granted(state, OTHER)


def test_a_document_with_a_fault_of_its_own_stays_as_it_was(folder: PolicyFolder) -> None:
    state = in_force(loaded(folder))
    faulty = POLICY.replace("hosts:", "hots:")
    documents(folder, policy=faulty, sources=SOURCES.replace("attach: {bearer: {}}", "atach: {}"))

    assert state.withdraw(rejected(folder.load())) == Withdrawal([], [])
    assert governed(state, HOST)
    assert isinstance(state().leases[GONE], LeaseKey)


def test_a_folder_that_cannot_be_read_takes_nothing_away(folder: PolicyFolder) -> None:
    state = in_force(loaded(folder))
    before = state()

    assert state.withdraw(RejectedPolicy("unreadable")) == Withdrawal([], [])
    assert state() is before


def test_what_comes_back_counts_again(folder: PolicyFolder) -> None:
    state = in_force(loaded(folder))
    state.withdraw(rejected_now(folder))
    assert not granted(state, HOST)

    assert state.withdraw(rejected_now(folder, policy=POLICY, sources=SOURCES)) == Withdrawal([], [])
    assert governed(state, HOST)
    assert isinstance(state().leases[GONE], LeaseKey)

    state.withdraw(rejected_now(folder))
    documents(folder, policy=POLICY, sources=SOURCES)
    state.replace_policy(loaded(folder))
    assert governed(state, HOST)
    assert state().withdrawn == frozenset()
    assert isinstance(state().leases[GONE], LeaseKey)


# --- who the pod is ----------------------------------------------------------------------------------


def attested(node: str = "gpu-7") -> Attested:
    verified = Verified(PROOF, "ml", "trainer", "train-0", "0f3d", node)
    return Attested(PROOF, verified)


def test_before_the_first_look_at_its_token_nobody_proves_the_pod(folder: PolicyFolder) -> None:
    state = in_force(loaded(folder))

    assert isinstance(state().proof, Unverified)
    assert state().identity.attested == frozenset()


def test_a_token_vouches_for_what_is_in_it_and_for_nothing_else(folder: PolicyFolder) -> None:
    told: list[PodState] = []
    state = in_force(loaded(folder), told)

    state.replace_proof(attested())

    identity = state().identity
    assert state().proof is PROOF
    assert (identity.pod_name, identity.pod_uid, identity.node) == ("train-0", "0f3d", "gpu-7")
    assert identity.labels == POD.labels
    assert identity.attested == {Claim.NAMESPACE, Claim.SERVICE_ACCOUNT, Claim.POD, Claim.NODE}
    assert identity.unattested == {Claim.LABELS, Claim.OWNER, Claim.IMAGES}
    assert [one is state() for one in told] == [True]


def test_a_token_without_a_node_leaves_the_one_that_is_declared(folder: PolicyFolder) -> None:
    state = in_force(loaded(folder))
    state.replace_identity(replace(POD, node="gpu-3"))

    state.replace_proof(attested(node=""))

    assert state().identity.node == "gpu-3"
    assert Claim.NODE in state().identity.unattested


def test_new_labels_leave_the_proof_and_a_new_policy_leaves_both(folder: PolicyFolder) -> None:
    state = in_force(loaded(folder))
    state.replace_proof(attested())

    state.replace_identity(replace(POD, labels={"team": "speech"}))
    state.replace_policy(loaded(folder))

    assert state().proof is PROOF
    assert state().identity.labels == {"team": "speech"}
    assert Claim.POD in state().identity.attested


def test_a_proof_that_ends_takes_along_what_it_vouched_for(folder: PolicyFolder) -> None:
    state = in_force(loaded(folder))
    state.replace_proof(attested())

    state.replace_proof(Attested(Unverified("the token is another pod's")))

    assert state().identity == POD
    assert state().identity.attested == frozenset()
    assert state().proof == Unverified("the token is another pod's")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_told(folder: PolicyFolder) -> None:
    folder.path.chmod(0)
    try:
        assert "Permission denied" in refusal(folder)
    finally:
        folder.path.chmod(0o700)


# --- limits ------------------------------------------------------------------------------------------------


def test_each_state_knows_how_much_of_a_body_may_be_hashed(folder: PolicyFolder) -> None:
    loaded_policy = loaded(folder)
    state = PolicyState(
        loaded_policy, POD, frozenset(), lambda _state: None, lambda: NOON, hashed_body_limit=1234
    )

    assert state().hashed_body_limit == 1234
    assert in_force(loaded_policy)().hashed_body_limit == DEFAULT_HASHED_BODY
