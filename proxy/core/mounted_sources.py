"""A credential that lies in a mounted secret, as somebody wrote it there."""

from dataclasses import dataclass

from proxy.core.parts import Part


@dataclass(frozen=True, slots=True)
class MountedSecret:
    """A Kubernetes Secret, mounted in the sidecar only: which of its keys holds which part."""

    secret_name: str
    keys: tuple[tuple[Part, str], ...]

    @property
    def parts(self) -> frozenset[Part]:
        return frozenset(part for part, _ in self.keys)
