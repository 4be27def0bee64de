"""Any bytes at all as the body of a DeleteObjects: read or refused, and never two ways."""

from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from proxy.aws.delete_objects import MAX_KEY_BYTES, read_delete_objects
from proxy.core.request import Removal

WHOLE = (
    b'<?xml version="1.0" encoding="UTF-8"?><Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    b"<Object><Key>tr&#97;in/<![CDATA[x]]></Key><VersionId>v</VersionId></Object><!-- c -->"
    b"<Quiet>true</Quiet><Object><Key> \xc3\xa9 </Key></Object></Delete>"
)
REMOVALS = (Removal("train/x", "v"), Removal(" \N{LATIN SMALL LETTER E WITH ACUTE} "))
PIECES = (
    b"<Delete>", b"</Delete>", b"<Object>", b"</Object>", b"<Key>", b"</Key>",
    b"<VersionId>", b"</VersionId>", b"<Quiet>", b"</Quiet>", b"<Key/>", b"a",
    b" ", b"&#13;", b"&lt;", b"<![CDATA[", b"]]>", b"<!--", b"-->",
    b"<!DOCTYPE x>", b"<?x?>", b"\xff", b"\x00", b'<?xml version="1.0"?>', b"<Object xmlns='urn:x'>",
)  # fmt: skip


def test_the_body_that_is_cut_and_changed_below_is_read() -> None:
    assert read_delete_objects(WHOLE) == REMOVALS


def test_no_beginning_of_a_body_is_read() -> None:
    assert [end for end in range(len(WHOLE)) if not isinstance(read_delete_objects(WHOLE[:end]), str)] == []


def test_no_end_of_a_body_is_read_but_what_begins_after_its_declaration() -> None:
    read = [
        start for start in range(1, len(WHOLE)) if not isinstance(read_delete_objects(WHOLE[start:]), str)
    ]
    assert read == [WHOLE.index(b"<Delete")]


def test_a_body_that_lacks_any_one_byte_is_refused_or_names_as_many_keys() -> None:
    for lost in range(len(WHOLE)):
        found = read_delete_objects(WHOLE[:lost] + WHOLE[lost + 1 :])
        assert isinstance(found, str) or len(found) == len(REMOVALS)


def naive(data: bytes) -> list[tuple[str | None, str | None]]:
    """The keys and versions as another parser finds them, wherever they stand in an Object."""
    root = ET.fromstring(data)
    objects = [one for one in root.iter() if one.tag.rpartition("}")[2] == "Object"]
    found = []
    for one in objects:
        texts = {child.tag.rpartition("}")[2]: child.text for child in one}
        found.append((texts.get("Key"), texts.get("VersionId")))
    return found


def check(data: bytes) -> None:
    found = read_delete_objects(data)
    if isinstance(found, str):
        assert found
        return
    assert found
    assert all(0 < len(one.key.encode()) <= MAX_KEY_BYTES for one in found)
    assert [(one.key, one.version) for one in found] == naive(data)


@given(st.binary(max_size=200))
def test_fuzz_any_bytes(data: bytes) -> None:
    check(data)


@given(st.lists(st.sampled_from(PIECES), max_size=25).map(b"".join))
def test_fuzz_any_pieces(data: bytes) -> None:
    check(data)
    check(b"<Delete><Object><Key>a</Key></Object>" + data + b"</Delete>")
    check(b"<Delete><Object><Key>a" + data + b"</Key></Object></Delete>")


@given(st.integers(0, len(WHOLE)), st.integers(0, 12), st.binary(max_size=12))
def test_fuzz_a_changed_body(place: int, lost: int, data: bytes) -> None:
    check(WHOLE[:place] + data + WHOLE[place + lost :])
