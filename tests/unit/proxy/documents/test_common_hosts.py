import pytest

from proxy.core.hosts import Hostname, HostPattern
from proxy.core.policy import Addressing, Grant, StoreEndpoint
from proxy.core.services import Catalogue
from proxy.documents.common_hosts import common_host, host_below

STORE = StoreEndpoint(Hostname("store.example.com"))
BELOW = StoreEndpoint(Hostname("store.example.com"), addressing=Addressing.VIRTUAL)


def named(*hosts: str) -> Grant:
    return Grant("one", hosts=tuple(map(HostPattern, hosts)))


def on(service: str, store: StoreEndpoint | None = None) -> Grant:
    return Grant("one", service, endpoint=store)


@pytest.mark.parametrize(
    ("a", "b", "host"),
    [
        (named("a.example.com"), named("b.example.com", "*.example.com"), "a.example.com"),
        (named("a.example.com"), named("b.example.com"), None),
        (on("openai"), named("b.example.com", "api.openai.com"), "api.openai.com"),
        (on("openai"), named("*.openai.com"), "api.openai.com"),
        (on("openai"), named("*.api.openai.org", "api.example.com"), None),
        (on("openai"), on("openai"), "api.openai.com"),
        (on("openai"), on("huggingface"), None),
        (on("gone"), on("gone"), None),
        # A store is another place than the service's own hosts, and than a store that is read otherwise.
        (on("s3", STORE), on("s3", STORE), "store.example.com"),
        (on("s3", STORE), on("s3"), None),
        (on("s3", STORE), on("s3", BELOW), None),
        (on("s3", STORE), named("store.example.com"), None),
        (on("s3", BELOW), named("*.store.example.com"), None),
    ],
)
def test_finds_a_host_that_both_grants_name(
    catalogue: Catalogue, a: Grant, b: Grant, host: str | None
) -> None:
    assert common_host(a, b, catalogue) == host
    assert (common_host(b, a, catalogue) is None) is (host is None)


def test_finds_a_host_of_a_service_below_a_suffix(catalogue: Catalogue) -> None:
    assert host_below("s3.eu-central-1.amazonaws.com", catalogue["s3"]) is not None
    assert host_below("example.com", catalogue["s3"]) is None
