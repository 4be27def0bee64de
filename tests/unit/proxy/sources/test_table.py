from proxy.core.credentials import CredentialSource
from proxy.core.mounted_sources import MountedSecret
from proxy.core.parts import Part
from proxy.sources.steps import ReadFiles
from proxy.sources.table import steps_of


def test_a_mounted_secret_is_acquired_from_its_files() -> None:
    source = CredentialSource("ml", "hub", MountedSecret("hf", ((Part.TOKEN, "token"),)))
    assert next(steps_of(source)) == ReadFiles("hf", ("token",))
