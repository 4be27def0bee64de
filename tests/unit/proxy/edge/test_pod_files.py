from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.core.identity import WorkloadIdentity
from proxy.core.settings import ProxySettings
from proxy.core.structs import replace
from proxy.documents.setting_values import SettingProblem
from proxy.documents.settings import read_settings
from proxy.edge.pod_files import PodFiles
from tests.kubelet_volume import KubeletVolume

REQUIRED = {"PODKEY_NAMESPACE": "ml", "PODKEY_SERVICE_ACCOUNT": "trainer", "PODKEY_POD_NAME": "train-0"}


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []

    def info(self, event: str, **fields: object) -> None:
        self.lines.append((event, fields))

    warning = error = info


def settings(**variables: str) -> ProxySettings:
    found = read_settings({**REQUIRED, **variables})
    assert isinstance(found, ProxySettings), found
    return found


ALL = {
    "labels": b'team="vision"\n',
    "owner": b"Job/train-resnet\n",
    "images": b"registry.example.com/ml/trainer:v1 nginx",
    "placeholders": b"KEY=podkey-x\n",
}


@pytest.fixture
def volume(tmp_path: Path) -> KubeletVolume:
    return KubeletVolume(tmp_path / "pod", ALL)


@pytest.fixture
def files(volume: KubeletVolume) -> PodFiles:
    folder = volume.folder
    return PodFiles(
        settings(
            PODKEY_LABELS_FILE=str(folder / "labels"),
            PODKEY_OWNER_FILE=str(folder / "owner"),
            PODKEY_IMAGES_FILE=str(folder / "images"),
            PODKEY_PLACEHOLDERS_FILE=str(folder / "placeholders"),
        )
    )


def problem(found: object) -> SettingProblem:
    assert isinstance(found, SettingProblem)
    return found


def test_what_the_files_say_is_part_of_the_identity_and_nobody_vouches_for_it(files: PodFiles) -> None:
    found = files.identity()

    assert isinstance(found, WorkloadIdentity)
    assert (found.namespace, found.service_account, found.pod_name) == ("ml", "trainer", "train-0")
    assert found.labels == {"team": "vision"}
    assert found.owner == "Job/train-resnet"
    assert [image.repository for image in found.images] == ["registry.example.com/ml/trainer", "nginx"]
    assert found.attested == frozenset()


def test_without_files_a_pod_has_none_of_it() -> None:
    found = PodFiles(settings()).identity()

    assert isinstance(found, WorkloadIdentity)
    assert (found.labels, found.owner, found.images) == ({}, "", ())


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("labels", "metadata.labels"),
        ("owner", "the annotation that the injector writes"),
        ("images", "the annotation that the injector writes"),
    ],
)
def test_a_file_that_is_missing_is_told(files: PodFiles, volume: KubeletVolume, name: str, fix: str) -> None:
    volume.swap({other: content for other, content in ALL.items() if other != name})

    found = problem(files.identity())

    assert found.name == f"PODKEY_{name.upper()}_FILE"
    assert "does not exist" in found.message
    assert fix in found.fix


@pytest.mark.parametrize(
    ("name", "content"),
    [("labels", b"team=vision without quotes\n"), ("owner", b"a job\n"), ("images", b"Not An Image\n")],
)
def test_a_file_that_cannot_be_understood_is_told(
    files: PodFiles, volume: KubeletVolume, name: str, content: bytes
) -> None:
    volume.swap({**ALL, name: content})

    assert problem(files.identity()).name == f"PODKEY_{name.upper()}_FILE"


def test_placeholders_are_exactly_what_the_pod_was_given(files: PodFiles) -> None:
    assert files.placeholders() == frozenset({"podkey-x"})
    assert PodFiles(settings()).placeholders() == frozenset()


def test_a_placeholders_file_that_is_missing_is_told(files: PodFiles, volume: KubeletVolume) -> None:
    volume.swap({name: content for name, content in ALL.items() if name != "placeholders"})

    found = problem(files.placeholders())

    assert (found.name, "does not exist" in found.message) == ("PODKEY_PLACEHOLDERS_FILE", True)


def test_a_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing" / "labels")

    assert "No such file" in problem(PodFiles(settings(PODKEY_LABELS_FILE=missing)).identity()).message


def test_a_labels_file_without_an_end_is_not_read_whole(files: PodFiles, volume: KubeletVolume) -> None:
    volume.swap({**ALL, "labels": b'a="b"\n' * 1_000_000})

    assert isinstance(files.identity(), SettingProblem)


# --- watching --------------------------------------------------------------------------------------------


def looks(files: PodFiles, changed: Callable[[WorkloadIdentity], None], log: Log) -> Callable[[], None]:
    """Looks often enough for a change to settle."""
    watch = files.watch(changed, log)
    assert watch is not None
    seconds = iter(range(1000))

    def look() -> None:
        for _ in range(3):
            watch.step(float(next(seconds)))

    return look


def test_labels_that_change_are_applied(files: PodFiles, volume: KubeletVolume) -> None:
    seen: list[WorkloadIdentity] = []
    log = Log()
    look = looks(files, seen.append, log)
    look()
    assert seen == []

    volume.swap({**ALL, "labels": b'team="speech"\n'})
    look()

    assert [identity.labels for identity in seen] == [{"team": "speech"}]
    assert [event for event, _ in log.lines] == ["labels applied"]


def test_an_owner_and_images_that_change_are_applied(files: PodFiles, volume: KubeletVolume) -> None:
    seen: list[WorkloadIdentity] = []
    look = looks(files, seen.append, Log())
    volume.swap({**ALL, "owner": b"Job/other"})
    look()
    volume.swap({**ALL, "owner": b"Job/other", "images": b"busybox"})
    look()

    assert [(one.owner, len(one.images)) for one in seen] == [("Job/other", 2), ("Job/other", 1)]


def test_labels_that_cannot_be_read_leave_the_old_ones(files: PodFiles, volume: KubeletVolume) -> None:
    seen: list[WorkloadIdentity] = []
    log = Log()
    look = looks(files, seen.append, log)

    volume.swap({**ALL, "labels": b"nonsense\n"})
    look()
    volume.swap({"other": b""})
    look()

    assert seen == []
    assert [event for event, _ in log.lines] == [
        "the labels cannot be read, the old ones count",
        "the labels file cannot be read, the old labels count",
    ]
    first, second = (str(fields["why"]) for _, fields in log.lines)
    assert first.startswith('PODKEY_LABELS_FILE: line 1 is not `key="value"`')
    assert second.endswith("/labels: does not exist")


def test_a_file_that_appears_later_is_applied(tmp_path: Path) -> None:
    file = tmp_path / "labels"
    files = PodFiles(settings(PODKEY_LABELS_FILE=str(file)))
    seen: list[WorkloadIdentity] = []
    look = looks(files, seen.append, Log())

    file.write_text('team="vision"\n')
    look()

    assert [identity.labels for identity in seen] == [{"team": "vision"}]


def test_without_a_file_there_is_nothing_to_watch() -> None:
    assert PodFiles(settings()).watch(lambda _: None, Log()) is None


def test_other_settings_do_not_matter(files: PodFiles) -> None:
    assert PodFiles(replace(files.settings)).identity() == files.identity()
