"""The built-in catalogue: the package's own files, through the reader that users' entries go through."""

from functools import cache
from importlib.resources import files

from proxy.core.services import Catalogue, Service
from proxy.core.structs import replace
from proxy.documents.reader import read_documents


@cache
def built_in_catalogue() -> Catalogue:
    """All services that podkey ships. A fault in one of them is a fault of ours: it raises."""
    return load_catalogue(
        {
            entry.name: entry.read_bytes()
            for entry in sorted(files(__package__).joinpath("catalogue").iterdir(), key=lambda e: e.name)
        }
    )


def load_catalogue(entries: dict[str, bytes]) -> Catalogue:
    """A catalogue from the bytes of its files."""
    result = read_documents(entries, Catalogue.of(()), built_in=True)
    if result.problems:
        raise ValueError("; ".join(str(problem) for problem in result.problems))
    return Catalogue.of(_built_in(service) for service in result.documents.services)


def _built_in(service: Service) -> Service:
    return replace(service, built_in=True)
