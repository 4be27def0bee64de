"""What `x-amz-copy-source` names: the object that S3 reads to write another one.

Two servers could differ in what they decode, in which order they split, and in what they take for a path.
The value is read in one way (a path in its normal form, decoded once), and where another way would find
another object it is not read at all.
"""

import re
from typing import Final
from urllib.parse import unquote

from proxy.core.paths import RequestPath
from proxy.core.reasons import Reason
from proxy.core.structs import Struct

# What S3 keys end at, in UTF-8 (S3 User Guide, "Naming Amazon S3 objects").
MAX_KEY_BYTES: Final = 1024

# As AWS writes it ("CopyObject", API reference). A multi-region access point has no region, and is known by
# its alias. Outposts and Object Lambda are services of their own.
_ACCESS_POINT: Final = re.compile(
    r"(?P<point>arn:aws[a-z-]*:s3:(?P<region>[a-z0-9-]*):[0-9]{12}:accesspoint/(?P<name>[a-z0-9][a-z0-9.-]*))"
    r"/object/(?P<key>.+)",
    re.DOTALL,
).fullmatch
# AWS calls it opaque; in its examples it is Base64.
_VERSION: Final = re.compile(r"versionId=((?:[A-Za-z0-9._~/=:-]|%2[BbFf]|%3[Dd])+)").fullmatch
_ESCAPED_SLASH: Final = re.compile("%2f", re.IGNORECASE)


class CopySource(Struct, frozen=True):
    """`bucket` is a name, or the ARN of an access point, as grants write it."""

    bucket: str
    key: str
    version: str | None = None


def read_copy_source(value: str) -> CopySource | str:
    """The object, or why the value does not name one in one way."""
    if "," in value:
        return "it has a comma, or was sent twice; a comma in a key is written `%2C`"
    if "+" in value:
        return "it has a plus sign, which some servers read as a space; it is written `%2B` or `%20`"
    name, mark, query = value.partition("?")
    version = _VERSION(query)
    if mark and version is None:
        return "what follows its `?` is no `versionId`"
    path = _path(name)
    if path.fault is Reason.AMBIGUOUS_PATH or path.had_dot_segments:
        return "it can be read in two ways: by its dot segments, or by what its escapes hide"
    if path.fault is not None:
        return "it is too long, or not percent-encoded"
    plain = unquote(path.text)[1:]
    if "?versionid=" in plain.lower():
        return "its key holds a `versionId`"
    found = _split(plain)
    if isinstance(found, str):
        return found
    bucket, key = found
    if len(key.encode()) > MAX_KEY_BYTES:
        return f"its key is longer than {MAX_KEY_BYTES:,} bytes"
    return CopySource(bucket, key, version[1] if version else None)


def _path(name: str) -> RequestPath:
    """The name as a path. Its slashes may be escaped, all of them or those after the bucket: every server
    that is known to us decodes before it splits. One that splits first finds no other bucket in these."""
    name = name.removeprefix("/")
    head, slash, rest = name.partition("/")
    if not slash:
        head, slash, rest = _ESCAPED_SLASH.sub("/", head), "", ""
    return RequestPath.parse(f"/{head}{slash}{_ESCAPED_SLASH.sub('/', rest)}")


def _split(plain: str) -> tuple[str, str] | str:
    if plain.startswith("arn:"):
        point = _ACCESS_POINT(plain)
        if point is None:
            return "it is an ARN, and not that of an object at an access point"
        if point["region"]:
            return (
                (point["point"], point["key"]) if "." not in point["name"] else "its access point has a dot"
            )
        # In requests, its host shows the alias and no account.
        is_alias = point["name"].endswith(".mrap")
        return (point["name"], point["key"]) if is_alias else "its ARN has no region"
    bucket, _, key = plain.partition("/")
    if not bucket or not key:
        return "it names no bucket and key, as in `bucket/key`"
    return bucket, key
