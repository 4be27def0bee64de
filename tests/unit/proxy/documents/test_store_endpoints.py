import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.hosts import Hostname
from proxy.core.policy import Addressing, StoreEndpoint
from proxy.documents.problems import Fault, ProblemCode
from proxy.documents.store_endpoints import LOCATION, STORE_REGION, Location, store_of, written_location
from tests.document_strategies import STORE_ENDPOINTS

C = ProblemCode


def located(text: str) -> Location:
    assert LOCATION.parse is not None
    found: Location = LOCATION.parse(text)
    return found


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("minio.storage.svc.cluster.local:9000", "minio.storage.svc.cluster.local", 9000),
        ("minio", "minio", 443),
        ("minio:65535", "minio", 65535),
        ("https://objects.example.com", "objects.example.com", 443),
        ("HTTPS://Objects.Example.com:1", "objects.example.com", 1),
        ("objekte-münchen.example.com", "xn--objekte-mnchen-osb.example.com", 443),
        ("xn--objekte-mnchen-osb.example.com:8443", "xn--objekte-mnchen-osb.example.com", 8443),
        # Providers have their hosts on the public suffix list: customers' buckets are names below them.
        ("nyc3.digitaloceanspaces.com", "nyc3.digitaloceanspaces.com", 443),
    ],
)
def test_reads_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert located(text) == (host, port)


@pytest.mark.parametrize(
    ("text", "code", "message", "fix"),
    [
        (
            "http://minio:9000",
            C.BAD_VALUE,
            "`http://minio:9000` is plain http",
            "give the store a certificate",
        ),
        ("HTTP://minio", C.BAD_VALUE, "is plain http", "signs nothing on clear text"),
        ("s3://bucket/key", C.HOST_IS_URL, "`s3://bucket/key` is not an endpoint", "write a host"),
        ("https://https://minio", C.HOST_IS_URL, "is not an endpoint", "write a host"),
        ("https://minio/", C.HOST_IS_URL, "`https://minio/` holds a path", "write `minio`"),
        ("minio:9000/bucket?x", C.HOST_IS_URL, "holds a path", "write `minio:9000`"),
        ("minio?x", C.HOST_IS_URL, "holds a path", "write `minio`"),
        ("minio#x", C.HOST_IS_URL, "holds a path", "write `minio`"),
        ("minio\\x", C.HOST_IS_URL, "holds a path", "write `minio`"),
        ("//minio", C.HOST_IS_URL, "holds a path", "write a host, and a port"),
        ("minio:", C.BAD_VALUE, "behind the colon stands no port", "use a number from 1 to 65535"),
        ("minio:0", C.BAD_VALUE, "behind the colon stands no port", "use a number from 1 to 65535"),
        ("minio:70000", C.BAD_VALUE, "behind the colon stands no port", "use a number from 1 to 65535"),
        ("minio:9000x", C.BAD_VALUE, "behind the colon stands no port", "use a number from 1 to 65535"),
        ("minio:9000:1", C.BAD_VALUE, "behind the colon stands no port", "use a number from 1 to 65535"),
        ("minio:٩٠٠٠", C.BAD_VALUE, "behind the colon stands no port", "use a number from 1 to 65535"),
        ("minio.example.com.:9000", C.HOST_MALFORMED, "ends in a dot", "write `minio.example.com`"),
        ("10.0.0.1:9000", C.HOST_IS_ADDRESS, "`10.0.0.1` is an IP address", "name the host"),
        ("0x7f.1", C.HOST_IS_ADDRESS, "`0x7f.1` is an IP address", "name the host"),
        ("[2001:db8::1]:9000", C.HOST_IS_ADDRESS, "`[2001:db8::1]:9000` is an IP address", "name the host"),
        ("[2001:db8::1]", C.HOST_IS_ADDRESS, "is an IP address", "name the host"),
        ("2001:db8::1", C.HOST_IS_ADDRESS, "is an IP address", "name the host"),
        ("*.example.com", C.HOST_WILDCARD, "`*.example.com` is not one host", "`addressing: virtual`"),
        ("*", C.HOST_WILDCARD, "a bare `*`", "name the hosts"),
        ("s3.*.example.com", C.HOST_WILDCARD, "whole first label", "list the hosts"),
        ("com", C.HOST_PUBLIC_SUFFIX, "`com` is a public suffix, not a store", "the store's whole name"),
        ("co.uk:9000", C.HOST_PUBLIC_SUFFIX, "`co.uk` is a public suffix", "the store's whole name"),
        ("mi nio", C.HOST_MALFORMED, "`mi nio` is not a host name", "use letters"),
        (":9000", C.HOST_MALFORMED, "is not a host name", "use letters"),
    ],
)
def test_says_what_is_wrong_with_an_endpoint(text: str, code: ProblemCode, message: str, fix: str) -> None:
    with pytest.raises(Fault) as caught:
        located(text)
    assert caught.value.code is code, caught.value.message
    assert message in caught.value.message
    assert fix in caught.value.fix


def test_a_password_in_an_endpoint_is_not_shown() -> None:
    with pytest.raises(Fault, match="a user name or a password") as caught:
        located("https://key:" + "hunter2@minio:9000")
    assert "hunter2" not in caught.value.message + caught.value.fix


@given(st.text(max_size=40) | st.text("htps:/@.[]0123abc*", max_size=24))
def test_fuzz_every_text_is_an_endpoint_or_a_fault(text: str) -> None:
    try:
        host, port = located(text)
    except Fault:
        return
    assert 0 < port < 65536
    assert host == host.lower()


@given(STORE_ENDPOINTS, st.integers(1, 65535))
def test_property_what_is_written_is_read_as_it_was(store: StoreEndpoint, port: int) -> None:
    assert located(written_location(store, (port,))) == (store.host, port)


@pytest.mark.parametrize("region", ["us-east-1", "default", "eu_1.a-B", "x" * 63])
def test_a_store_may_call_its_region_anything_that_fits_into_a_signature(region: str) -> None:
    assert STORE_REGION.parse is not None
    assert STORE_REGION.parse(region) == region


@pytest.mark.parametrize("region", ["", "a/b", "-a", "a b", "x" * 64, "é"])
def test_a_region_has_nothing_in_it_that_a_signature_reads_otherwise(region: str) -> None:
    assert STORE_REGION.parse is not None
    with pytest.raises(Fault, match="is not a region"):
        STORE_REGION.parse(region)


def test_a_store_signs_for_one_region_and_is_addressed_by_path_unless_it_is_said() -> None:
    here = Location(Hostname("store.example.com"), 443)
    assert store_of(here, None, None) == StoreEndpoint(here.host, "us-east-1", Addressing.PATH)
    assert store_of(here, "eu-1", Addressing.VIRTUAL) == StoreEndpoint(here.host, "eu-1", Addressing.VIRTUAL)
    assert store_of(None, None, None) is None


def test_not_every_name_of_a_top_level_is_a_bucket() -> None:
    assert store_of(Location(Hostname("minio"), 9000), None, Addressing.PATH) is not None
    with pytest.raises(Fault, match="every name below `minio` would be a bucket") as caught:
        store_of(Location(Hostname("minio"), 9000), None, Addressing.VIRTUAL)
    assert caught.value.at == "endpoint"
