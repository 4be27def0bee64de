"""What a copy reads: read in one way, or not at all."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.aws.copy_source import MAX_KEY_BYTES, CopySource, read_copy_source

POINT = "arn:aws:s3:eu-west-1:111122223333:accesspoint/train"
POINT_IN_CHINA = "arn:aws-cn:s3:cn-north-1:111122223333:accesspoint/a"
MULTI_REGION = "arn:aws:s3::111122223333:accesspoint/mfzwi23gnjvgw.mrap"
BASE64 = "3sL4kqtJlcpXroDTDmJ%2BrmSpXd3d/IrHY="


@pytest.mark.parametrize(
    ("value", "source"),
    [
        ("data/k", CopySource("data", "k")),
        ("/data/k", CopySource("data", "k")),
        ("data/a/b.safetensors", CopySource("data", "a/b.safetensors")),
        ("data/k/", CopySource("data", "k/")),
        # Decoded once, and no more.
        ("data/a%20b", CopySource("data", "a b")),
        ("data/a%2Bb", CopySource("data", "a+b")),
        ("data/a%2Cb", CopySource("data", "a,b")),
        ("data/100%2525", CopySource("data", "100%25")),
        ("data/%C3%A9", CopySource("data", "\N{LATIN SMALL LETTER E WITH ACUTE}")),
        ("d%61ta/%6b", CopySource("data", "k")),
        ("data/what%3F", CopySource("data", "what?")),
        # A key may begin with a slash, and hold empty segments.
        ("data//k", CopySource("data", "/k")),
        ("/data//a//b", CopySource("data", "/a//b")),
        ("data/...", CopySource("data", "...")),
        ("data/.hidden", CopySource("data", ".hidden")),
        # Go's PathEscape escapes the slashes, too.
        ("data%2Fa%2Fb", CopySource("data", "a/b")),
        ("data%2fk", CopySource("data", "k")),
        ("data/a%2Fb", CopySource("data", "a/b")),
        ("/data/a%2fb/c", CopySource("data", "a/b/c")),
        # Versions
        ("data/k?versionId=v", CopySource("data", "k", "v")),
        ("data/k?versionId=null", CopySource("data", "k", "null")),
        (f"data/k?versionId={BASE64}", CopySource("data", "k", BASE64)),
        # Access points, as SDKs spell them
        (f"{POINT}/object/a/b", CopySource(POINT, "a/b")),
        (f"/{POINT}/object/k?versionId=v", CopySource(POINT, "k", "v")),
        (f"{quote(POINT + '/object/a b', safe='/~')}", CopySource(POINT, "a b")),
        (f"{quote(POINT + '/object/k', safe='')}", CopySource(POINT, "k")),
        (f"{POINT}/object//k", CopySource(POINT, "/k")),
        (f"{POINT}/object/object/k", CopySource(POINT, "object/k")),
        (f"{POINT_IN_CHINA}/object/k", CopySource(POINT_IN_CHINA, "k")),
        (f"{MULTI_REGION}/object/k", CopySource("mfzwi23gnjvgw.mrap", "k")),
        # No ARN: buckets of that name, if there were any.
        ("arnold/k", CopySource("arnold", "k")),
        ("a--use1-az4--x-s3/k", CopySource("a--use1-az4--x-s3", "k")),
    ],
)
def test_reads_the_object_that_is_named(value: str, source: CopySource) -> None:
    assert read_copy_source(value) == source


TWO_WAYS = "it can be read in two ways: by its dot segments, or by what its escapes hide"
UNENCODED = "it is too long, or not percent-encoded"
INCOMPLETE = "it names no bucket and key, as in `bucket/key`"
NO_VERSION = "what follows its `?` is no `versionId`"
PLUS = "it has a plus sign, which some servers read as a space; it is written `%2B` or `%20`"
COMMA = "it has a comma, or was sent twice; a comma in a key is written `%2C`"
NO_POINT = "it is an ARN, and not that of an object at an access point"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        # Incomplete
        ("", INCOMPLETE),
        ("/", INCOMPLETE),
        ("//", INCOMPLETE),
        ("data", INCOMPLETE),
        ("data/", INCOMPLETE),
        ("/data/", INCOMPLETE),
        ("//data/k", INCOMPLETE),
        ("%2Fdata%2Fk", INCOMPLETE),
        ("/%2Fdata%2Fk", INCOMPLETE),
        ("data%2F", INCOMPLETE),
        ("?versionId=v", INCOMPLETE),
        ("data?versionId=v", INCOMPLETE),
        # Dots, in the clear and in every disguise
        ("data/../other/k", TWO_WAYS),
        ("data/./k", TWO_WAYS),
        ("./data/k", TWO_WAYS),
        ("../data/k", TWO_WAYS),
        ("data/a/..", TWO_WAYS),
        ("data/%2e%2e/other/k", TWO_WAYS),
        ("data/%2E./other/k", TWO_WAYS),
        ("data/a%2F..%2Fb", TWO_WAYS),
        ("data%2F..%2Fother%2Fk", TWO_WAYS),
        ("data/%252e%252e/k", TWO_WAYS),
        ("data/..%3Bx/k", TWO_WAYS),
        ("data/..;x/k", TWO_WAYS),
        ("data//../k", TWO_WAYS),
        # Separators that only some servers see
        ("data/a%252Fb", TWO_WAYS),
        ("da%2Fta/k", TWO_WAYS),
        ("data%2Fk/x", TWO_WAYS),
        ("data/a%5Cb", TWO_WAYS),
        ("data/a\\b", TWO_WAYS),
        # What is no UTF-8, no text, no path
        ("data/%FF", TWO_WAYS),
        ("data/%C0%AF", TWO_WAYS),
        ("data/%ED%A0%80", TWO_WAYS),
        ("data/%00", UNENCODED),
        ("data/a%0Ab", UNENCODED),
        ("data/%7F", UNENCODED),
        ("data/a b", UNENCODED),
        (" data/k", UNENCODED),
        ("data/k ", UNENCODED),
        ("data/a\tb", UNENCODED),
        ("data/a\nb", UNENCODED),
        ("data/\x00", UNENCODED),
        ("data/\N{LATIN SMALL LETTER E WITH ACUTE}", UNENCODED),
        ("data/%", UNENCODED),
        ("data/%2", UNENCODED),
        ("data/%zz", UNENCODED),
        ("data/k#x", UNENCODED),
        ("data/[k]", UNENCODED),
        ("data/" + "a" * 10_000, UNENCODED),
        ("data/" + "a" * (MAX_KEY_BYTES + 1), "its key is longer than 1,024 bytes"),
        ("data/" + "%C3%A9" * 513, "its key is longer than 1,024 bytes"),
        # Two of them
        ("data/k,other/k", COMMA),
        ("data/k, data/k", COMMA),
        (",", COMMA),
        ("data/a+b", PLUS),
        ("data/k?versionId=a+b", PLUS),
        # Versions that are none
        ("data/k?", NO_VERSION),
        ("data/k?versionId", NO_VERSION),
        ("data/k?versionId=", NO_VERSION),
        ("data/k?versionid=v", NO_VERSION),
        ("data/k?VersionId=v", NO_VERSION),
        ("data/k?acl", NO_VERSION),
        ("data/k?versionId=v&acl", NO_VERSION),
        ("data/k?acl&versionId=v", NO_VERSION),
        ("data/k?versionId=v?versionId=w", NO_VERSION),
        ("data/k?versionId=%00", NO_VERSION),
        ("data/k?versionId=v#", NO_VERSION),
        ("data/k?versionId=v w", NO_VERSION),
        # To a server that decodes before it splits, these name a version.
        ("data/k%3FversionId=v", "its key holds a `versionId`"),
        ("data/k%3FVERSIONID=v", "its key holds a `versionId`"),
        ("data/k%3fversionId%3Dv?versionId=w", "its key holds a `versionId`"),
        # ARNs of something else
        ("arn:aws:s3:::data/k", NO_POINT),
        ("arn:aws:s3:eu-west-1:111122223333:accesspoint/train", NO_POINT),
        (f"{POINT}/object", NO_POINT),
        (f"{POINT}/object/", NO_POINT),
        (f"{POINT}/k", NO_POINT),
        (f"{POINT}/Object/k", NO_POINT),
        ("arn:aws:s3:eu-west-1:111122223333:accesspoint:train/object/k", NO_POINT),
        ("arn:aws:s3:eu-west-1:1111:accesspoint/train/object/k", NO_POINT),
        ("arn:aws:s3:eu-west-1::accesspoint/train/object/k", NO_POINT),
        ("arn:aws:s3-object-lambda:eu-west-1:111122223333:accesspoint/train/object/k", NO_POINT),
        ("arn:aws:s3-outposts:eu-west-1:111122223333:outpost/op-1/object/k", NO_POINT),
        ("arn:aws:s3-outposts:eu-west-1:111122223333:outpost/op-1/accesspoint/a/object/k", NO_POINT),
        ("arn:aws:s3:eu-west-1:111122223333:accesspoint/a.mrap/object/k", "its access point has a dot"),
        ("arn:aws:s3::111122223333:accesspoint/train/object/k", "its ARN has no region"),
    ],
)
def test_what_could_name_another_object_is_not_read(value: str, why: str) -> None:
    assert read_copy_source(value) == why


@pytest.mark.parametrize("key", ["a" * MAX_KEY_BYTES, "\N{LATIN SMALL LETTER E WITH ACUTE}" * 512])
def test_a_key_may_be_as_long_as_s3_has_them(key: str) -> None:
    assert read_copy_source(f"data/{quote(key)}") == CopySource("data", key)


# What a key may be made of, less what is refused everywhere: see the tables above.
ordinary = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\\"), min_size=1, max_size=30
).filter(lambda text: not {".", ".."} & set(text.split("/")) and "?versionid=" not in text.lower())


@given(ordinary)
def test_property_what_an_sdk_encodes_is_what_is_read(key: str) -> None:
    for spelled in (quote(key, safe="/~"), quote(key)):
        found = read_copy_source(f"data/{spelled}")
        # `%25` before an escape of its own is what a second decoding would find.
        assert found == CopySource("data", key) or (found == TWO_WAYS and ("%" in key or "." in key))


@given(st.text(st.sampled_from("da/k.%25eEfFcC?=,+ versionId:"), max_size=30) | st.text(max_size=30))
def test_property_any_text_is_read_or_refused_and_never_with_an_odd_segment(value: str) -> None:
    found = read_copy_source(value)

    if isinstance(found, CopySource):
        assert found.bucket
        assert found.key
        assert not {".", ".."} & {found.bucket, *found.key.split("/")}
        assert "/" not in found.bucket or found.bucket.startswith("arn:")
        assert "," not in value
        assert "+" not in value
        assert found.key.isprintable() or not found.key.isascii()
    else:
        assert found
