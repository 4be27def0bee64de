import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.identity import Claim, ImageReference, WorkloadIdentity, is_digest
from proxy.core.structs import replace
from tests.core_reference import mutated

SHA256 = "sha256:" + "0123456789abcdef" * 4
SHA512 = "sha512:" + "0123456789abcdef" * 8
TRAINER = "registry.example.com/team/trainer"


@pytest.mark.parametrize("text", [SHA256, SHA512])
def test_digests_of_the_registered_algorithms(text: str) -> None:
    assert is_digest(text)


@pytest.mark.parametrize(
    "text",
    ["", "sha256:", SHA256[:-1], SHA256 + "0", SHA256.upper(), SHA256 + "\n", SHA256[7:], "md5:" + "0" * 32],
)
def test_what_is_no_digest(text: str) -> None:
    assert not is_digest(text)


@pytest.mark.parametrize(
    ("text", "repository", "digest"),
    [
        (TRAINER, TRAINER, None),
        (f"{TRAINER}:v1", TRAINER, None),  # a tag can be moved: it names nothing
        (f"{TRAINER}@{SHA256}", TRAINER, SHA256),
        (f"{TRAINER}:v1@{SHA512}", TRAINER, SHA512),
        ("registry.example.com:5000/trainer", "registry.example.com:5000/trainer", None),
        ("registry.example.com:5000/trainer:v1", "registry.example.com:5000/trainer", None),
        ("localhost:5000/a/b:1@" + SHA256, "localhost:5000/a/b", SHA256),
        ("trainer", "trainer", None),
        ("trainer:latest", "trainer", None),
        ("team/my_trainer__2-x.y", "team/my_trainer__2-x.y", None),
    ],
)
def test_an_image_reference_is_parted(text: str, repository: str, digest: str | None) -> None:
    assert ImageReference.parse(text) == ImageReference(repository, digest)


@pytest.mark.parametrize(
    "text",
    [
        *["", ":v1", "@" + SHA256, "/trainer", "team/", "team/:v1", ".team/x", "team/x-", "Team/Trainer"],
        *[f"{TRAINER}@", f"{TRAINER}@latest", f"{TRAINER}@{SHA256}x", f"{TRAINER}@{SHA256}@{SHA256}"],
        *["a b", "a\n", "é", "team/*", "a?b"],
    ],
)
def test_what_is_no_image_reference_is_none(text: str) -> None:
    assert ImageReference.parse(text) is None


@given(
    mutated(f"registry.example.com:5000/team/trainer:v1@{SHA256}", "aA0:/@._-*\n é") | st.text(max_size=40)
)
def test_fuzz_a_reference_is_parted_or_none(text: str) -> None:
    image = ImageReference.parse(text)
    if image is not None:
        assert text.startswith(image.repository)
        assert image.digest is None or text.endswith("@" + image.digest)
        assert "@" not in text or image.digest is not None
        assert ImageReference.parse(image.repository + "/x") == ImageReference(image.repository + "/x")


POD = WorkloadIdentity(
    "ml-team",
    "trainer",
    pod_uid="uid-1",
    labels={"app": "train", "team": "vision"},
    images=(ImageReference(TRAINER, SHA256),),
    wants_gpu=True,
)


def test_the_same_pod_is_one_key_whatever_the_order_of_its_labels() -> None:
    again = replace(POD, labels={"team": "vision", "app": "train"})
    assert again == POD
    assert {POD: "seen"}[again] == "seen"


@pytest.mark.parametrize(
    "other",
    [
        replace(POD, namespace="other"),
        replace(POD, service_account="other"),
        replace(POD, pod_uid="uid-2"),
        replace(POD, cluster="other"),
        replace(POD, pod_name="other"),
        replace(POD, node="other"),
        replace(POD, labels={"app": "train"}),
        replace(POD, images=()),
        replace(POD, wants_gpu=False),
    ],
)
def test_a_pod_that_differs_in_anything_is_another_key(other: WorkloadIdentity) -> None:
    assert other != POD
    assert {POD: "seen"}.get(other) is None


def test_an_identity_cannot_be_changed_after_it_was_proven() -> None:
    with pytest.raises(AttributeError):
        POD.namespace = "other"  # type: ignore[misc]


def test_what_is_not_known_of_a_pod_grants_nothing() -> None:
    pod = WorkloadIdentity("ml-team", "trainer")
    assert (dict(pod.labels), pod.images, pod.wants_gpu) == ({}, (), False)


def test_until_somebody_vouches_for_a_pod_all_of_it_is_unattested() -> None:
    assert POD.attested == frozenset()
    assert POD.unattested == frozenset(Claim)


def test_what_a_token_vouches_for_and_what_it_does_not_make_the_whole() -> None:
    vouched = frozenset({Claim.NAMESPACE, Claim.SERVICE_ACCOUNT, Claim.POD, Claim.NODE})
    pod = replace(POD, attested=vouched, owner="Job/train")
    assert pod.unattested == {Claim.LABELS, Claim.OWNER, Claim.IMAGES}
    assert pod.attested | pod.unattested == frozenset(Claim)
    assert not pod.attested & pod.unattested
    assert pod != POD, "an attested pod is not the same as one that only says so"
