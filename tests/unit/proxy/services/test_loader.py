from importlib.resources import files

import pytest

from proxy.core.services import Catalogue
from proxy.core.structs import to_json
from proxy.services.loader import KEPT, built_in_catalogue, load_catalogue, written_catalogue
from tests.document_strategies import policy, service_entry, source


def test_the_built_in_catalogue_is_read_once() -> None:
    assert built_in_catalogue() is built_in_catalogue()


def test_what_is_kept_is_what_the_entries_say(catalogue: Catalogue) -> None:
    written = written_catalogue()
    assert files("proxy.services").joinpath(KEPT).read_bytes() == written, "run `make generate`"
    assert to_json(tuple(catalogue.values())) == written


def test_every_built_in_service_is_marked_as_such(catalogue: Catalogue) -> None:
    assert list(catalogue) == sorted(catalogue)
    assert {name for name, service in catalogue.items() if service.built_in} == set(catalogue)


def test_entries_become_services_by_name() -> None:
    found = load_catalogue(
        {
            "b.yaml": service_entry(name="two", hosts="[two.acme.example]").encode(),
            "a.yaml": service_entry(name="one").encode(),
        }
    )
    assert list(found) == ["one", "two"]
    assert all(service.built_in for service in found.values())


def test_a_built_in_entry_may_cover_what_strangers_register() -> None:
    hosts = "['{bucket+}.s3.amazonaws.com']"
    assert list(load_catalogue({"s3.yaml": service_entry(name="s3", hosts=hosts).encode()})) == ["s3"]


def test_nothing_but_services_comes_of_it() -> None:
    files = {"a.yaml": service_entry().encode(), "b.yaml": source().encode(), "c.yaml": policy().encode()}
    assert list(load_catalogue(files)) == ["acme"]


def test_a_fault_of_ours_raises_with_all_problems() -> None:
    with pytest.raises(ValueError, match=r"a\.yaml:1: `kind` is missing; b\.yaml:1: a document is a mapping"):
        load_catalogue({"b.yaml": b"[x]", "a.yaml": b"apiVersion: podkey.io/v1alpha1"})
