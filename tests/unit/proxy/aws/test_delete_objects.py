"""The body of a DeleteObjects: what it names, or why that cannot be told."""

from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.aws.delete_objects import MAX_BODY, MAX_KEY_BYTES, MAX_REMOVALS, read_delete_objects
from proxy.core.paths import has_dot_segments
from proxy.core.request import Removal

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
E_ACUTE = "\N{LATIN SMALL LETTER E WITH ACUTE}"
PRETTY = f"""<?xml version="1.0" encoding="UTF-8"?>
<Delete xmlns="{NAMESPACE}">
  <Object>
    <Key>a</Key>
  </Object>\r\n\t<Quiet>false</Quiet>
</Delete>
"""


def body(*objects: str, before: str = "", after: str = "") -> str:
    inner = "".join(f"<Object>{one}</Object>" for one in objects)
    return f"{before}<Delete>{inner}{after}</Delete>"


@pytest.mark.parametrize(
    ("text", "removals"),
    [
        (body("<Key>a</Key>"), [Removal("a")]),
        (body("<Key>a</Key>", "<Key>b/c</Key>"), [Removal("a"), Removal("b/c")]),
        (body("<Key>a</Key>", "<Key>a</Key>"), [Removal("a"), Removal("a")]),
        (body("<Key>a</Key><VersionId>v</VersionId>"), [Removal("a", "v")]),
        (body("<VersionId>null</VersionId><Key>a</Key>"), [Removal("a", "null")]),
        (
            body('<Key>a</Key><ETag>"x"</ETag><LastModifiedTime>t</LastModifiedTime><Size>3</Size>'),
            [Removal("a")],
        ),
        (body("<Key>a</Key>", after="<Quiet>true</Quiet>"), [Removal("a")]),
        ("<Delete><Quiet/><Object><Key>a</Key></Object></Delete>", [Removal("a")]),
        # As SDKs write it
        (
            f'<Delete xmlns="{NAMESPACE}"><Object><Key>a</Key></Object><Quiet>true</Quiet></Delete>',
            [Removal("a")],
        ),
        (PRETTY, [Removal("a")]),
        ('<?xml version="1.0" encoding="utf-8" standalone="yes"?>' + body("<Key>a</Key>"), [Removal("a")]),
        (
            f'<s:Delete xmlns:s="{NAMESPACE}"><s:Object><s:Key>a</s:Key></s:Object></s:Delete>',
            [Removal("a")],
        ),
        # Spaces are part of a key.
        (body("<Key> a  b </Key>"), [Removal(" a  b ")]),
        (body("<Key>\ta\n</Key>"), [Removal("\ta\n")]),
        (body("<Key> </Key>"), [Removal(" ")]),
        # So says XML 1.0 §2.11: what is not escaped ends a line.
        (body("<Key>a\r\nb\rc</Key>"), [Removal("a\nb\nc")]),
        (body("<Key>a&#13;&#10;b&#xD;</Key>"), [Removal("a\r\nb\r")]),
        # Escapes, once
        (body("<Key>&lt;a&gt;&amp;&quot;&apos;</Key>"), [Removal("<a>&\"'")]),
        (body("<Key>&amp;lt;</Key>"), [Removal("&lt;")]),
        (body("<Key>&#47;&#x2F;&#x2f;a%2F</Key>"), [Removal("///a%2F")]),
        (body("<Key>tr<![CDATA[ai]]>n<![CDATA[]]>/</Key>"), [Removal("train/")]),
        (
            body("<Key><![CDATA[</Key></Object><Object><Key>b]]></Key>"),
            [Removal("</Key></Object><Object><Key>b")],
        ),
        (body(f"<Key>{E_ACUTE}</Key>"), [Removal(E_ACUTE)]),
        (body("<Key>e&#x301;</Key>"), [Removal("e\N{COMBINING ACUTE ACCENT}")]),
        (body("<Key>&#x1F600;</Key>"), [Removal("\N{GRINNING FACE}")]),
        # Comments, where no text is
        (
            "<!-- a --><Delete><!-- b --><Object><!-- c --><Key>a</Key></Object></Delete><!-- d -->",
            [Removal("a")],
        ),
        (
            "<Delete><!-- <Object><Key>b</Key></Object> --><Object><Key>a</Key></Object></Delete>",
            [Removal("a")],
        ),
        ("\N{ZERO WIDTH NO-BREAK SPACE}" + body("<Key>a</Key>"), [Removal("a")]),
    ],
)
def test_reads_what_the_body_names(text: str, removals: list[Removal]) -> None:
    assert read_delete_objects(text.encode()) == tuple(removals)


DOTS = "a key has a dot segment"
ELSEWHERE = "an element stands where none of its name belongs, in "
TEXT = "text stands where none belongs, in "
NO_UTF8 = "it is not in UTF-8"
ANOTHER = "it declares something else than XML 1.0 in UTF-8"
FOREIGN = "an element is of another namespace than S3's"
ATTRIBUTE = "an element has an attribute"
DOCTYPE = "it declares a document type"
BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        # Nothing
        ("<Delete/>", "it names no key"),
        ("<Delete> </Delete>", "it names no key"),
        ("<Delete><Quiet>true</Quiet></Delete>", "it names no key"),
        (body(""), "an object has no key"),
        (body("<Key/>"), "an object has no key"),
        (body("<Key></Key>"), "an object has no key"),
        (body("<VersionId>v</VersionId>"), "an object has no key"),
        (body("<Key>a</Key>", ""), "an object has no key"),
        (body("<Key>a</Key><VersionId/>"), "an object has an empty VersionId"),
        (body("<Key>a</Key><VersionId> \n</VersionId>"), "an object has an empty VersionId"),
        # Which of the two?
        (body("<Key>a</Key><Key>b</Key>"), "an object has two of Key"),
        (body("<Key>a</Key><Key>a</Key>"), "an object has two of Key"),
        (body("<Key/><Key>a</Key>"), "an object has two of Key"),
        (
            body("<Key>a</Key><VersionId>v</VersionId><VersionId>w</VersionId>"),
            "an object has two of VersionId",
        ),
        (body("<Key>a</Key>", after="<Quiet/><Quiet/>"), "it has two of Quiet"),
        # Some stores make file paths of keys.
        (body("<Key>train/../secret</Key>"), DOTS),
        (body("<Key>..</Key>"), DOTS),
        (body("<Key>train/./x</Key>"), DOTS),
        (body("<Key>train&#47;&#46;.&#x2f;x</Key>"), DOTS),
        (body("<Key>train\\..\\x</Key>"), DOTS),
        (body("<Key>train/%2e%2e/x</Key>"), DOTS),
        (body("<Key>a</Key>", after="<Object><Key>b/..</Key></Object>"), DOTS),
        # What stands in the wrong place
        ("<Object><Key>a</Key></Object>", ELSEWHERE + "the body itself"),
        ("<delete><object><key>a</key></object></delete>", ELSEWHERE + "the body itself"),
        ("<DeleteObjectsRequest/>", ELSEWHERE + "the body itself"),
        ("<Delete><Key>a</Key></Delete>", ELSEWHERE + "Delete"),
        ("<Delete><VersionId>a</VersionId></Delete>", ELSEWHERE + "Delete"),
        ("<Delete><object><Key>a</Key></object></Delete>", ELSEWHERE + "Delete"),
        ("<Delete><Delete><Object><Key>a</Key></Object></Delete></Delete>", ELSEWHERE + "Delete"),
        (body("<key>a</key>"), ELSEWHERE + "Delete/Object"),
        (body("<Object><Key>a</Key></Object>"), ELSEWHERE + "Delete/Object"),
        (body("<Quiet/><Key>a</Key>"), ELSEWHERE + "Delete/Object"),
        (body("<Key>a<Key>b</Key></Key>"), ELSEWHERE + "Delete/Object/Key"),
        (body("<Key>a<b/>c</Key>"), ELSEWHERE + "Delete/Object/Key"),
        (body("<Key>a</Key><ETag><Key>b</Key></ETag>"), ELSEWHERE + "Delete/Object/ETag"),
        (body("<Key>a</Key>", after="<Quiet><Object/></Quiet>"), ELSEWHERE + "Delete/Quiet"),
        ("<Delete>b<Object><Key>a</Key></Object></Delete>", TEXT + "Delete"),
        (body("<Key>a</Key>", after="b"), TEXT + "Delete"),
        (body("b<Key>a</Key>"), TEXT + "Delete/Object"),
        (body("<Key>a</Key>b"), TEXT + "Delete/Object"),
        (body("<Key>a</Key><![CDATA[b]]>"), TEXT + "Delete/Object"),
        (body("\N{NO-BREAK SPACE}<Key>a</Key>"), TEXT + "Delete/Object"),
        # To some parsers a text ends at a comment.
        (body("<Key>train/<!-- -->x</Key>"), "a comment stands in Delete/Object/Key"),
        (body("<Key>a</Key><VersionId><!-- -->v</VersionId>"), "a comment stands in Delete/Object/VersionId"),
        # Attributes and namespaces
        ('<Delete xml:space="preserve"><Object><Key>a</Key></Object></Delete>', ATTRIBUTE),
        (body('<Key encoding="base64">a</Key>'), ATTRIBUTE),
        ('<Delete xmlns="urn:x"><Object><Key>a</Key></Object></Delete>', FOREIGN),
        (
            f'<Delete xmlns="{NAMESPACE}"><Object xmlns=""><Key>a</Key></Object></Delete>',
            FOREIGN,
        ),
        (body(f'<Key>a</Key><VersionId xmlns="{NAMESPACE}">v</VersionId>'), FOREIGN),
        # Document types, entities, processing instructions
        ("<!DOCTYPE Delete>" + body("<Key>a</Key>"), DOCTYPE),
        ('<!DOCTYPE Delete SYSTEM "http://example.com/x.dtd">' + body("<Key>a</Key>"), DOCTYPE),
        (BOMB + body("<Key>&b;</Key>"), DOCTYPE),
        ('<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + body("<Key>&a;</Key>"), DOCTYPE),
        ("<?php x?>" + body("<Key>a</Key>"), "it holds a processing instruction"),
        (body("<Key>a<?x?></Key>"), "it holds a processing instruction"),
        # Other encodings, and other versions of XML
        ('<?xml version="1.0" encoding="ISO-8859-1"?>' + body("<Key>a</Key>"), ANOTHER),
        ('<?xml version="1.0" encoding="UTF-16"?>' + body("<Key>a</Key>"), ANOTHER),
        ('<?xml version="1.0" encoding="UTF-7"?>' + body("<Key>+AGE-</Key>"), ANOTHER),
        ('<?xml version="1.1"?>' + body("<Key>a</Key>"), ANOTHER),
        (body("<Key>a\x00</Key>"), NO_UTF8),
    ],
)
def test_what_could_be_read_in_two_ways_is_not_read(text: str, why: str) -> None:
    assert read_delete_objects(text.encode()) == why


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"{}",
        b"<Delete>",
        b"<Delete></delete>",
        b"</Delete>",
        b"<Delete/><Delete/>",
        b"<Delete/>x",
        b" <?xml version='1.0'?><Delete/>",
        b"<Delete><Object><Key>a</Object></Key></Delete>",
        b"<Delete><Object><Key>a&x;</Key></Object></Delete>",
        b"<Delete><Object><Key>a&b</Key></Object></Delete>",
        b"<Delete><Object><Key>&#0;</Key></Object></Delete>",
        b"<Delete><Object><Key>&#1;</Key></Object></Delete>",
        b"<Delete><Object><Key>&#xD800;</Key></Object></Delete>",
        b"<Delete><Object><Key>&#xFFFE;</Key></Object></Delete>",
        b"<Delete><Object><Key>\x01</Key></Object></Delete>",
        b"<Delete><Object><Key>\xff</Key></Object></Delete>",
        b"<Delete><Object><Key>\xc0\xaf</Key></Object></Delete>",
        b"<Delete><Object><Key>\xed\xa0\x80</Key></Object></Delete>",
        b"<Delete><Object><Key>]]></Key></Object></Delete>",
        b"<Delete><Object><Key><![CDATA[a</Key></Object></Delete>",
        b"<x:Delete><Object><Key>a</Key></Object></x:Delete>",
    ],
)
def test_what_is_no_xml_is_not_read(data: bytes) -> None:
    found = read_delete_objects(data)
    assert isinstance(found, str)
    assert found.startswith("it is no XML: ")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_body_in_another_encoding_is_not_read(encoding: str) -> None:
    assert read_delete_objects(body("<Key>a</Key>").encode(encoding)) == NO_UTF8


def test_a_refusal_shows_nothing_of_the_body() -> None:
    secret = "s3cr3t"
    for text in (
        f"<{secret}/>",
        body(f"<{secret}/>"),
        body(f"<Key>{secret}<b/></Key>"),
        f"<Delete>{secret}&x;",
    ):
        found = read_delete_objects(text.encode())
        assert isinstance(found, str)
        assert secret not in found


# --- limits ----------------------------------------------------------------------------------------------


def test_a_body_names_as_many_keys_as_the_api_takes() -> None:
    keys = [f"<Key>{number}</Key>" for number in range(MAX_REMOVALS)]
    found = read_delete_objects(body(*keys).encode())
    assert isinstance(found, tuple)
    assert len(found) == MAX_REMOVALS
    assert read_delete_objects(body(*keys, "<Key>one more</Key>").encode()) == "it names more than 1,000 keys"


def test_a_key_may_be_as_long_as_s3_has_them() -> None:
    for letter, size in (("a", 1), (E_ACUTE, 2)):
        longest = letter * (MAX_KEY_BYTES // size)
        assert read_delete_objects(body(f"<Key>{longest}</Key>").encode()) == (Removal(longest),)
        longer = body(f"<Key>{longest}{letter}</Key>").encode()
        assert read_delete_objects(longer) == "a key is longer than 1,024 bytes"


def test_the_largest_bodies_of_sdks_are_read_and_larger_ones_not() -> None:
    key, version = E_ACUTE * (MAX_KEY_BYTES // 2), "v" * 64
    one = f"<Key>{key}</Key><VersionId>{version}</VersionId>"
    largest = body(*[one] * MAX_REMOVALS).encode()
    assert len(largest) < MAX_BODY // 2
    assert len(read_delete_objects(largest)) == MAX_REMOVALS
    padded = b"<Delete>" + b" " * MAX_BODY
    assert read_delete_objects(padded) == "it is larger than 4,194,304 bytes"


# --- properties ------------------------------------------------------------------------------------------

# What XML can hold (§2.2), less the carriage return, which must be escaped, and dot segments.
keys = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="￾￿"), min_size=1, max_size=40
).filter(lambda key: not has_dot_segments(key))
removals = st.lists(
    st.builds(Removal, keys, st.none() | st.text("abcXYZ019._-", min_size=1, max_size=8)),
    min_size=1,
    max_size=8,
)


@given(removals, st.sampled_from(("", f' xmlns="{NAMESPACE}"')), st.sampled_from(("", "<Quiet>true</Quiet>")))
def test_property_what_is_written_is_what_is_read(wanted: list[Removal], namespace: str, quiet: str) -> None:
    objects = (
        f"<Key>{escape(one.key)}</Key>" + (f"<VersionId>{one.version}</VersionId>" if one.version else "")
        for one in wanted
    )
    text = body(*objects, after=quiet).replace("<Delete>", f"<Delete{namespace}>", 1)
    assert read_delete_objects(text.encode()) == tuple(wanted)


@given(keys)
def test_property_a_key_can_be_spelled_in_references_alone(key: str) -> None:
    spelled = "".join(f"&#{ord(letter)};" for letter in key)
    assert read_delete_objects(body(f"<Key>{spelled}</Key>").encode()) == (Removal(key),)
