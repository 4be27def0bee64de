"""Directory buckets of S3 Express One Zone with objects in them, behind the sessions of `aws_express`.

Written from "Authorizing Zonal endpoint API operations with CreateSession" (S3 User Guide), and "CopyObject"
and "Protecting data with trailing checksums" (S3 API reference). An object is touched with a session of its
bucket, that has not ended and may do it; a copy is signed with the caller's own keys.
"""

import base64
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import unquote
from xml.sax.saxutils import escape

from proxy.sources.steps import HttpReply
from tests.source_world import Request as Whole
from tests.stand_ins.aws_express import Express
from tests.stand_ins.aws_signatures import CONTENT_HASH, EXPRESS_TOKEN, Keys, signer

TRAILER: Final = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
COPY: Final = "x-amz-copy-source"
SERVICE: Final = "s3express"
_READS: Final = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class Touched:
    """`mode` of its session; empty where it was signed with the caller's own keys."""

    method: str
    bucket: str
    key: str
    mode: str
    signer: str


@dataclass
class DirectoryBuckets:
    sessions: Express
    objects: dict[tuple[str, str], bytes] = field(default_factory=dict)
    touched: list[Touched] = field(default_factory=list)

    def answer(self, request: Whole) -> HttpReply:
        self.sessions.now = datetime.now(UTC)
        if request.query == {"session": ""}:
            return self.sessions.answer(request)
        bucket, key = request.host.partition(".")[0], unquote(request.path[1:])
        if COPY in request.headers:
            caller = signer(
                request, self.sessions.callers.get, SERVICE, self.sessions.region, self.sessions.now, s3=True
            )
            self.touched.append(Touched(request.method, bucket, key, "", caller.access_key_id))
            source, _, source_key = unquote(request.headers[COPY]).removeprefix("/").partition("/")
            self.objects[bucket, key] = self.objects[source, source_key]
            return _xml(200, "<CopyObjectResult><ETag>&quot;0&quot;</ETag></CopyObjectResult>")
        keys = signer(
            request,
            self._known,
            SERVICE,
            self.sessions.region,
            self.sessions.now,
            s3=True,
            token_header=EXPRESS_TOKEN,
        )
        session = next(one for one in self.sessions.sessions if one.keys == keys)
        self.touched.append(Touched(request.method, bucket, key, session.mode, keys.access_key_id))
        if session.expires <= self.sessions.now:
            return _error(400, "ExpiredToken")
        if session.bucket != bucket or (session.mode == "ReadOnly" and request.method not in _READS):
            return _error(403, "AccessDenied")
        return self._served(request, bucket, key)

    def _known(self, access_key_id: str) -> Keys | None:
        return next(
            (one.keys for one in self.sessions.sessions if one.keys.access_key_id == access_key_id), None
        )

    def _served(self, request: Whole, bucket: str, key: str) -> HttpReply:
        place = (bucket, key)
        if not key:
            prefix = request.query.get("prefix", "")
            keys = sorted(name for where, name in self.objects if where == bucket and name.startswith(prefix))
            entries = "".join(f"<Contents><Key>{escape(name)}</Key></Contents>" for name in keys)
            return _xml(
                200, f"<ListBucketResult><KeyCount>{len(keys)}</KeyCount>{entries}</ListBucketResult>"
            )
        match request.method:
            case "PUT":
                body = unframed(request.body) if request.headers[CONTENT_HASH] == TRAILER else request.body
                if body is None:
                    return _error(400, "BadDigest")
                self.objects[place] = body
                return HttpReply(200, {"etag": '"0"'}, b"")
            case "DELETE":
                self.objects.pop(place, None)
                return HttpReply(204, {}, b"")
            case _ if place not in self.objects:
                return _error(404, "NoSuchKey")
            case _:
                return HttpReply(200, {"etag": '"0"'}, self.objects[place])


def unframed(body: bytes) -> bytes | None:
    """What is in the chunks of a body with a CRC32 behind it; None where that is another one."""
    found = b""
    while True:
        line, _, body = body.partition(b"\r\n")
        size = int(line, 16)
        if not size:
            break
        found, body = found + body[:size], body[size + 2 :]
    checksum = base64.b64encode(zlib.crc32(found).to_bytes(4))
    return found if body == b"x-amz-checksum-crc32:%s\r\n\r\n" % checksum else None


def _error(status: int, code: str) -> HttpReply:
    return _xml(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>")


def _xml(status: int, text: str) -> HttpReply:
    return HttpReply(status, {"content-type": "application/xml"}, text.encode())
