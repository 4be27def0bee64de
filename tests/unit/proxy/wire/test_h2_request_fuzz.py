from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.authority import read_authority
from proxy.wire.h2_request import h2_request_fault, h2_trailers_fault
from proxy.wire.request_head import RequestHead, read_request_head
from tests.wire_samples import GRPC, Fields

NAMES = st.one_of(
    st.sampled_from([name for name, _ in GRPC]),
    st.sampled_from([b"host", b"content-length", b"transfer-encoding", b"te", b":protocol", b"A", b""]),
    st.binary(max_size=5),
)
VALUES = st.one_of(
    st.sampled_from(
        [b"GET", b"CONNECT", b"https", b"/", b"*", b"a.example", b"a.example:443", b"5", b"trailers"]
    ),
    st.sampled_from([b"pubsub.googleapis.com", b"a\r\nb: c", b"a\0", b" a"]),
    st.binary(max_size=5),
)
FIELDS = st.one_of(
    st.tuples(NAMES, VALUES),
    st.tuples(
        st.sampled_from([b"a", b"cookie", b"x_y"]), st.text("a b\tc\r\n:,", max_size=4).map(str.encode)
    ),
)


@st.composite
def nearly_requests(draw: st.DrawFn) -> Fields:
    fields = list(GRPC)
    for _ in range(draw(st.integers(0, 2))):
        at, count = draw(st.integers(0, len(fields))), draw(st.integers(0, 1))
        fields[at : at + count] = draw(st.lists(FIELDS, max_size=1))
    return fields


LISTS = st.one_of(nearly_requests(), st.lists(FIELDS, max_size=8))


@given(fields=LISTS)
def test_every_list_gets_an_answer_that_is_printable(fields: Fields) -> None:
    for fault in (h2_request_fault(fields), h2_trailers_fault(fields)):
        assert fault is None or fault.detail.isprintable()


@given(fields=LISTS)
def test_a_good_request_has_one_name_and_one_of_each_pseudo_header(fields: Fields) -> None:
    if h2_request_fault(fields) is None:
        names = [name for name, _ in fields]
        assert all(names.count(name) == 1 for name in (b":method", b":scheme", b":path"))
        hosts = {read_authority(value.decode()) for name, value in fields if name in {b":authority", b"host"}}
        assert None not in hosts
        assert len({(host.host, host.port or 443) for host in hosts if host}) == 1


@given(fields=LISTS)
def test_a_good_request_written_as_http_1_is_one_good_head(fields: Fields) -> None:
    """Whatever turns it into HTTP/1 cannot be made to write two requests, or another one."""
    if h2_request_fault(fields) is None:
        values = dict(fields)
        host = values.get(b":authority", values.get(b"host", b""))
        regular = [(n, v) for n, v in fields if not n.startswith(b":") and n != b"host"]
        lines = [values[b":method"] + b" " + values[b":path"] + b" HTTP/1.1", b"host: " + host]
        data = b"\r\n".join([*lines, *(n + b": " + v for n, v in regular), b"", b""])

        reading = read_request_head(data)

        assert isinstance(reading, RequestHead), reading
        assert reading.size == len(data)
        assert [(n.encode(), v.encode("latin-1")) for n, v in reading.headers[1:]] == regular
