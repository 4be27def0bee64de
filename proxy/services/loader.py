"""The built-in catalogue: the package's own files, through the reader that users' entries go through.

That reader takes a twentieth of a second for them, at each start. So what it makes of them is kept beside
them, by `make generate`, and a start takes that.
"""

from functools import cache
from pkgutil import get_data
from typing import Final

from proxy.core.services import Catalogue, Service
from proxy.core.structs import from_json, replace, to_json
from proxy.documents.reader import read_documents

# Beside this module.
KEPT: Final = "catalogue.json"
_ENTRIES: Final = "catalogue"


@cache
def built_in_catalogue() -> Catalogue:
    """All services that podkey ships. Fresh by a test, and by `make current`."""
    # Not `importlib.resources`: with all that it imports it takes as long as the rest of this.
    kept = get_data(__package__, KEPT) or b""
    return Catalogue.of(from_json(kept, tuple[Service, ...]))


def written_catalogue() -> bytes:
    """What is kept, made of the entries anew."""
    from importlib.resources import files  # noqa: PLC0415 - see above

    folder = files(__package__).joinpath(_ENTRIES)
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    return to_json(tuple(load_catalogue({entry.name: entry.read_bytes() for entry in entries}).values()))


def load_catalogue(entries: dict[str, bytes]) -> Catalogue:
    """A catalogue from the bytes of its files. A fault in one of them is a fault of ours: it raises."""
    result = read_documents(entries, Catalogue.of(()), built_in=True)
    if result.problems:
        raise ValueError("; ".join(str(problem) for problem in result.problems))
    return Catalogue.of(_built_in(service) for service in result.documents.services)


def _built_in(service: Service) -> Service:
    return replace(service, built_in=True)
