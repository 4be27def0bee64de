"""A volume as the kubelet mounts and changes it. inotify saw its AtomicWriter do: `CREATE|ISDIR ..2026_…`,
`CREATE ..data_tmp`, `MOVED_FROM ..data_tmp`, `MOVED_TO ..data`, `CREATE` and `DELETE` of visible names, and
`DELETE|ISDIR` of the old folder."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path


class KubeletVolume:
    def __init__(self, folder: Path, files: Mapping[str, bytes]) -> None:
        self.folder = folder
        self._generation = 0
        folder.mkdir(parents=True)
        self.swap(files)

    @property
    def data(self) -> Path:
        return self.folder / "..data"

    def swap(self, files: Mapping[str, bytes], between: Callable[[str], None] = lambda step: None) -> None:
        """Bring new contents; `between` is called after each of the kubelet's steps, with its name."""
        self._generation += 1
        new = self.folder / f"..2026_11_20_14_05_{self._generation:02}.{self._generation:09}"
        old = self.folder / self.data.readlink() if self.data.is_symlink() else None
        for name, content in files.items():
            path = new / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        between("written")
        temporary = self.folder / "..data_tmp"
        temporary.symlink_to(new.name)
        between("linked")
        temporary.rename(self.data)
        between("swapped")
        wanted = {name.partition("/")[0] for name in files}
        for name in wanted:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        for entry in list(self.folder.iterdir()):
            if not entry.name.startswith("..") and entry.name not in wanted:
                entry.unlink()
        between("named")
        if old is not None:
            shutil.rmtree(old)
        between("removed")
