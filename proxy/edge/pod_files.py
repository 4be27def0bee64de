"""What the pod's files say of it: labels from the downward API, placeholders from the injector."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from proxy.core.identity import WorkloadIdentity
from proxy.core.settings import ProxySettings
from proxy.documents.pod_files import MAX_LABELS_BYTES, MAX_PLACEHOLDERS_BYTES, read_labels, read_placeholders
from proxy.documents.setting_values import SettingProblem
from proxy.edge.recorder import Log
from proxy.edge.snapshots import Unread, read_snapshot
from proxy.edge.watch import FolderWatch


@dataclass(frozen=True, slots=True)
class PodFiles:
    settings: ProxySettings

    def identity(self) -> WorkloadIdentity | SettingProblem:
        pod = self.settings.pod
        if pod.labels_file is None:
            return pod.identity({})
        try:
            data = _read(Path(pod.labels_file), MAX_LABELS_BYTES)
        except OSError as error:
            fix = "mount the field metadata.labels of the downward API"
            return SettingProblem("PODKEY_LABELS_FILE", f"{pod.labels_file}: {error.strerror}", fix)
        labels = read_labels(data)
        return labels if isinstance(labels, SettingProblem) else pod.identity(labels)

    def placeholders(self) -> frozenset[str] | SettingProblem:
        """Exactly what this pod was given; empty where no file says it."""
        path = self.settings.folders.placeholders_file
        if path is None:
            return frozenset()
        try:
            data = _read(Path(path), MAX_PLACEHOLDERS_BYTES)
        except OSError as error:
            fix = "mount the file, or leave the setting out"
            return SettingProblem("PODKEY_PLACEHOLDERS_FILE", f"{path}: {error.strerror}", fix)
        return read_placeholders(data)

    def watch(self, changed: Callable[[WorkloadIdentity], None], log: Log) -> FolderWatch | None:
        """Labels may change while the pod runs, and with them the policies that select it."""
        path = self.settings.pod.labels_file
        if path is None:
            return None
        file = Path(path)

        def apply(_contents: Mapping[str, bytes]) -> None:
            identity = self.identity()
            if isinstance(identity, SettingProblem):
                log.error("the labels cannot be read, the old ones count", why=identity.message)
            else:
                changed(identity)
                log.info("labels applied")

        def read() -> Mapping[str, bytes]:
            return {file.name: _read(file, MAX_LABELS_BYTES)}

        failed = log.error
        return FolderWatch([file], read, apply, lambda error: _tell(failed, error), {file.name: _now(file)})


def _tell(failed: Callable[..., object], error: OSError) -> None:
    failed("the labels file cannot be read, the old labels count", why=error.strerror)


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
