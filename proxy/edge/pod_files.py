"""What the pod's files say of it: labels, owner and images from the downward API, placeholders from the
injector."""

from collections.abc import Callable, Mapping
from pathlib import Path

from proxy.core.identity import ImageReference, WorkloadIdentity
from proxy.core.settings import ProxySettings
from proxy.core.structs import Struct
from proxy.documents.pod_files import (
    MAX_LABELS_BYTES,
    MAX_PLACEHOLDERS_BYTES,
    read_images,
    read_labels,
    read_owner,
    read_placeholders,
)
from proxy.documents.setting_values import SettingProblem
from proxy.documents.settings_table import IMAGES_FILE, LABELS_FILE, OWNER_FILE, PLACEHOLDERS_FILE
from proxy.files.snapshots import Unread, read_snapshot
from proxy.files.watch import FolderWatch
from proxy.telemetry.log import Log


class PodFiles(Struct, frozen=True):
    settings: ProxySettings

    def identity(self) -> WorkloadIdentity | SettingProblem:
        """What the pod's own files say it is; nobody has vouched for any of it."""
        pod = self.settings.pod
        fix = "mount the field metadata.labels of the downward API"
        none: dict[str, str] = {}
        labels = _parsed(LABELS_FILE.name, pod.labels_file, read_labels, none, fix)
        if isinstance(labels, SettingProblem):
            return labels
        fix = "mount the annotation that the injector writes, or leave the setting out"
        owner = _parsed(OWNER_FILE.name, pod.owner_file, read_owner, "", fix)
        if isinstance(owner, SettingProblem):
            return owner
        no_images: tuple[ImageReference, ...] = ()
        images = _parsed(IMAGES_FILE.name, pod.images_file, read_images, no_images, fix)
        if isinstance(images, SettingProblem):
            return images
        return pod.identity(labels, owner, images)

    def placeholders(self) -> frozenset[str] | SettingProblem:
        """Exactly what this pod was given; empty where no file says it."""
        fix = "mount the file, or leave the setting out"
        path = self.settings.folders.placeholders_file
        return _parsed(PLACEHOLDERS_FILE.name, path, read_placeholders, frozenset(), fix)

    def watch(self, changed: Callable[[WorkloadIdentity], None], log: Log) -> FolderWatch | None:
        """Labels may change while the pod runs, and with them the policies that select it."""
        pod = self.settings.pod
        files = [Path(path) for path in (pod.labels_file, pod.owner_file, pod.images_file) if path]
        if not files:
            return None

        def apply(_contents: Mapping[str, bytes]) -> None:
            identity = self.identity()
            if isinstance(identity, SettingProblem):
                why = f"{identity.name}: {identity.message}"
                log.error("the labels cannot be read, the old ones count", why=why)
            else:
                changed(identity)
                log.info("labels applied")

        def read() -> Mapping[str, bytes]:
            return {str(file): _read(file, MAX_LABELS_BYTES) for file in files}

        failed = log.error
        now = {str(file): _now(file) for file in files}
        return FolderWatch(files, read, apply, lambda error: _tell(failed, error), now)


def _parsed[T](
    setting: str,
    path: str | None,
    parse: Callable[[bytes], T | SettingProblem],
    absent: T,
    fix: str,
) -> T | SettingProblem:
    if path is None:
        return absent
    try:
        return parse(_read(Path(path), max(MAX_LABELS_BYTES, MAX_PLACEHOLDERS_BYTES)))
    except OSError as error:
        return SettingProblem(setting, f"{path}: {error.strerror}", fix)


def _tell(failed: Callable[..., object], error: OSError) -> None:
    why = f"{error.filename}: {error.strerror}"
    failed("the labels file cannot be read, the old labels count", why=why)


def _now(file: Path) -> bytes:
    try:
        return _read(file, MAX_LABELS_BYTES)
    except OSError:
        return b""


def _read(file: Path, most: int) -> bytes:
    found = read_snapshot(file.parent, [file.name], most)[file.name]
    if isinstance(found, Unread):
        raise OSError(0, found.why, str(file))
    return found
