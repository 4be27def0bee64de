import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.craft.owners import images_text, owner_text
from proxy.core.identity import ImageReference
from proxy.documents.pod_files import read_images, read_owner
from tests.sample_pods import sample_pod


@pytest.mark.parametrize(
    ("owner", "text"),
    [
        ("Job/train", "Job/train"),
        ("", ""),
        ("Job/", ""),
        ("Job/Train", ""),
        ("My-Kind/train", ""),
        ("Job/a/b", ""),
    ],
)
def test_an_owner_that_the_sidecar_would_not_read_is_left_out(owner: str, text: str) -> None:
    assert owner_text(owner) == text


def images_of(*images: object) -> str:
    pod = sample_pod(*({"image": image} for image in images))
    return images_text(pod.containers)


def test_images_stand_in_order_each_once() -> None:
    assert images_of("b:1", "a", "b:1") == "b:1 a"
    assert images_text(()) == ""


@pytest.mark.parametrize("odd", [None, "", "A/b", "a b", " ", "a@sha256:1", "a\u00a0b"])
def test_one_image_that_is_not_known_hides_all_of_them(odd: str | None) -> None:
    """A policy with conditions on images wants to see every one, and at least one."""
    assert images_of("good:1", odd) == ""


@given(st.lists(st.text(max_size=12) | st.sampled_from(["a:1", "b.test/c@sha256:" + "0" * 64]), max_size=4))
def test_the_sidecar_reads_whatever_is_written(images: list[str]) -> None:
    text = images_of(*images) if images else ""
    read = read_images(text.encode())
    assert isinstance(read, tuple)
    if text:
        assert set(read) == {ImageReference.parse(image) for image in images}


@given(st.text(max_size=20))
def test_the_sidecar_reads_any_owner_that_is_written(owner: str) -> None:
    assert isinstance(read_owner(owner_text(owner).encode()), str)
