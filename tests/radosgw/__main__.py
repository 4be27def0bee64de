"""A real AssumeRoleWithWebIdentity, at Ceph's radosgw 20: `make radosgw`.

The pod's token is a token of tests/pod_tokens.py, its issuer's keys are served as Kubernetes publishes them
(without `x5c`), the generator is ours, and so is the door through which it asks. What is proved: a good token
becomes keys that S3 takes; the session policy that is derived from grants bounds them; an expired token, one
for another audience, one of another subject and one that was changed get our errors.

Needs root, debootstrap and some 1 GB below $XDG_CACHE_HOME (or $PODKEY_RADOSGW). Everything that is mounted
and started lives in namespaces of its own and ends with this program.
"""

# ruff: noqa: T201 - it tells what it proves

import asyncio
import os
import signal
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from json import dumps, loads
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from proxy.core.aws_sources import AssumedRole, AwsWebIdentity, SessionPolicy
from proxy.core.globs import Glob
from proxy.core.parts import Part
from proxy.core.policy import Access, Grant
from proxy.core.secret import Secret
from proxy.core.settings import DIRECT
from proxy.core.structs import replace
from proxy.edge.outgoing import Outgoing
from proxy.services.loader import built_in_catalogue
from proxy.sources.aws_web_identity import acquire
from proxy.sources.scopes import scope_of
from proxy.sources.steps import (
    Acquired,
    Failed,
    HttpCall,
    HttpReply,
    Occasion,
    ReadToken,
    Reply,
    SourceOutcome,
    StepFailed,
)
from tests.pod_tokens import TokenIssuer, jwks
from tests.source_world import WHO
from tests.upstream_authority import UpstreamAuthority

HERE: Final = Path(__file__).parent
INSIDE: Final = "PODKEY_RADOSGW_INSIDE"
GATEWAY: Final = "https://localhost:7443"
ISSUER_AT: Final = "localhost:8443"
AUDIENCE: Final = "sts.amazonaws.com"
ROLE: Final = "arn:aws:iam:::role/training"
SECOND: Final = "arn:aws:iam:::role/reader"
BUCKET: Final = "datasets"
S3: Final = built_in_catalogue()["s3"]

READS: Final = Grant(
    "aws",
    "s3",
    pins=(("bucket", (Glob(BUCKET),)),),
    prefixes=("train/",),
    access=(Access.READ, Access.WRITE, Access.LIST),
)


def main() -> int:
    if os.environ.get(INSIDE) is None:
        subprocess.run([HERE / "ceph.sh", "root"], check=True)
        # All that the gateway is ends with the first process of its process namespace.
        apart = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        # In our place, so that whoever ends this program ends them all.
        os.execvpe("unshare", [*apart, sys.executable, "-m", "tests.radosgw"], {**os.environ, INSIDE: "1"})
    # The first process of a namespace ends at no signal that it does not handle.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        authority = UpstreamAuthority(Path(folder, "authority"))
        certificate = authority.certificate("localhost")
        both = Path(folder, "tls.pem")
        both.write_bytes(certificate.key.read_bytes() + certificate.chain.read_bytes())
        began = monotonic()
        with Path(folder, "start.log").open("wb") as log:  # a pipe would be held open by what it starts
            subprocess.run([HERE / "ceph.sh", "start", both], check=True, stdout=log, stderr=log)
        return Proof(authority, Path(folder)).run(began)


class Proof:
    def __init__(self, authority: UpstreamAuthority, folder: Path) -> None:
        self.cluster = TokenIssuer(f"https://{ISSUER_AT}", "RS256")
        self.authority = authority
        self.folder = folder
        self.failures = 0

    def run(self, began: float) -> int:
        user = self.admin_user()
        print(f"radosgw answers after {monotonic() - began:.1f} s")
        with issuer(self.cluster, self.authority):
            self.make_roles(user)
            self.prove()
        print("all proved" if not self.failures else f"{self.failures} not proved")
        return min(self.failures, 1)

    # --- what the platform team sets up ---

    def admin_user(self) -> tuple[str, str]:
        root = Path(os.environ.get("PODKEY_RADOSGW") or cache() / "podkey/radosgw", "root")
        command = ["chroot", str(root), "timeout", "60", "radosgw-admin", "user", "create", "--uid=admin"]
        more = ["--display-name=admin", "--caps=roles=*;oidc-provider=*;user-policy=*"]
        done = subprocess.run([*command, *more], check=True, capture_output=True)
        [key] = loads(done.stdout)["keys"]
        s3 = self.client("s3", key["access_key"], key["secret_key"])
        eventually(s3.list_buckets)
        return key["access_key"], key["secret_key"]

    def make_roles(self, user: tuple[str, str]) -> None:
        iam, s3 = self.client("iam", *user), self.client("s3", *user)
        # Ceph wants a thumbprint; it counts for certificates in keys (x5c), which ours have not.
        iam.create_open_id_connect_provider(
            Url=self.cluster.issuer, ClientIDList=[AUDIENCE], ThumbprintList=["0" * 40]
        )
        trust = {
            "Effect": "Allow",
            "Principal": {"Federated": [f"arn:aws:iam:::oidc-provider/{ISSUER_AT}"]},
            "Action": ["sts:AssumeRoleWithWebIdentity", "sts:TagSession"],
            "Condition": {
                "StringEquals": {
                    f"{ISSUER_AT}:app_id": AUDIENCE,
                    f"{ISSUER_AT}:sub": "system:serviceaccount:ml:trainer",
                }
            },
        }
        self.make_role(iam, "training", trust, ["s3:*", "sts:AssumeRole"])
        chained = {
            "Effect": "Allow",
            "Principal": {"AWS": [ROLE]},
            "Action": ["sts:AssumeRole"],
        }
        self.make_role(iam, "reader", chained, ["s3:*"])
        s3.create_bucket(Bucket=BUCKET)
        for key in ("train/x", "other/x"):
            s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode())

    @staticmethod
    def make_role(iam: Any, name: str, trust: dict[str, Any], actions: list[str]) -> None:
        document = dumps({"Version": "2012-10-17", "Statement": [trust]})
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)
        allowed = {"Effect": "Allow", "Action": actions, "Resource": "*"}
        policy = dumps({"Version": "2012-10-17", "Statement": [allowed]})
        iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=policy)

    # --- what the sidecar does ---

    def acquired(self, kind: AwsWebIdentity, token: bytes) -> SourceOutcome:
        scope = scope_of(kind, [(READS, S3)])
        assert isinstance(scope, str), scope
        occasion = Occasion(datetime.now(UTC), WHO, "nonce", scope)
        return asyncio.run(self.drive(kind, occasion, token))

    async def drive(self, kind: AwsWebIdentity, occasion: Occasion, token: bytes) -> SourceOutcome:
        context = ssl.create_default_context(cafile=str(self.authority.file))
        door = Outgoing(context, DIRECT, lambda _: None)
        steps = acquire(kind, occasion)
        try:
            step = next(steps)
            while True:
                reply: Reply
                match step:
                    case ReadToken():
                        reply = Secret(token)
                    case HttpCall():
                        reply = await door.call(step)
                        self.remember(reply)
                    case other:
                        raise TypeError(other)
                step = steps.send(reply)
        except StopIteration as end:
            outcome: SourceOutcome = end.value
            return outcome
        finally:
            await door.close()

    @staticmethod
    def remember(reply: HttpReply | StepFailed) -> None:
        if os.environ.get("PODKEY_RADOSGW_DEBUG") and isinstance(reply, HttpReply):
            print(f"    {reply.status} {reply.body[:200]!r}")

    # --- what is proved ---

    def prove(self) -> None:
        kind = AwsWebIdentity(ROLE, "default", endpoint=GATEWAY)
        now = datetime.now(UTC)
        good = self.cluster.token(now, AUDIENCE)
        outcome = self.acquired(kind, good)
        self.check("a good token becomes a session", isinstance(outcome, Acquired), outcome)
        if isinstance(outcome, Acquired):
            assert isinstance(outcome.expires, datetime)
            left = outcome.expires - now
            self.check(
                "it ends after the hour that was asked for", abs(left - timedelta(hours=1)) < MINUTE, left
            )
            self.bounded("its session policy", outcome)
        wide = self.acquired(replace(kind, session_policy=SessionPolicy.NONE), good)
        self.check("without a session policy", isinstance(wide, Acquired), wide)
        if isinstance(wide, Acquired):
            self.allowed("without one, all that the role may", self.s3_of(wide), "other/x", put=True)
        chained = self.acquired(replace(kind, then=AssumedRole(SECOND)), good)
        self.check("a second role is assumed with our signature", isinstance(chained, Acquired), chained)
        if isinstance(chained, Acquired):
            self.bounded("the second session's policy", chained)
        parts = good.split(b".")
        for what, token in {
            "an expired token": self.cluster.token(now - timedelta(hours=2), AUDIENCE),
            "a token for another audience": self.cluster.token(now, "something-else"),
            "a token of another service account": self.cluster.token(now, AUDIENCE, account="other"),
            "a token that was changed": b".".join((parts[0], parts[1], parts[2][::-1])),
            "a token of another issuer's key": self.forged(now),
            "what is no token": b"a.b.c",
        }.items():
            refused = self.acquired(kind, token)
            no = isinstance(refused, Failed) and "answered 403 AccessDenied" in refused.message
            self.check(f"{what} is refused", no, refused)

    def forged(self, now: datetime) -> bytes:
        stranger = TokenIssuer(self.cluster.issuer, "RS256")
        stranger.key_id = self.cluster.key_id
        return stranger.token(now, AUDIENCE)

    def bounded(self, what: str, outcome: Acquired) -> None:
        s3 = self.s3_of(outcome)
        self.allowed(f"{what} lets read and write what is granted", s3, "train/x", put=True)
        self.denied(f"{what} refuses a key outside", lambda: s3.get_object(Bucket=BUCKET, Key="other/x"))
        put = {"Bucket": BUCKET, "Key": "other/y", "Body": b"y"}
        self.denied(f"{what} refuses to write outside", lambda: s3.put_object(**put))
        delete = {"Bucket": BUCKET, "Key": "train/x"}
        self.denied(f"{what} refuses an operation that is not granted", lambda: s3.delete_object(**delete))
        listed = s3.list_objects_v2(Bucket=BUCKET, Prefix="train/")
        self.check(f"{what} lets list below the prefix", listed["KeyCount"] == 1, listed["KeyCount"])
        self.denied(f"{what} refuses to list the bucket", lambda: s3.list_objects_v2(Bucket=BUCKET))
        self.denied(f"{what} refuses to look at the bucket", lambda: s3.head_bucket(Bucket=BUCKET))

    def allowed(self, what: str, s3: Any, key: str, *, put: bool) -> None:
        try:
            body = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
            if put:
                s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        except ClientError as error:
            self.check(what, False, error)  # noqa: FBT003 - it is not proved
        else:
            self.check(what, body == key.encode(), body)

    def denied(self, what: str, call: Callable[[], Any]) -> None:
        try:
            call()
        except ClientError as error:
            code = error.response["ResponseMetadata"]["HTTPStatusCode"]
            self.check(what, code == 403, code)
        else:
            self.check(what, False, "it was allowed")  # noqa: FBT003 - it is not proved

    def check(self, what: str, holds: bool, shown: Any) -> None:  # noqa: FBT001 - a verdict
        self.failures += not holds
        said = f": {shown.message}" if isinstance(shown, Failed) else "" if holds else f": {shown}"
        print(f"{'ok     ' if holds else 'NOT OK '} {what}{said}", flush=True)

    def s3_of(self, outcome: Acquired) -> Any:
        parts = (Part.ACCESS_KEY_ID, Part.SECRET_ACCESS_KEY, Part.SESSION_TOKEN)
        return self.client("s3", *(outcome.parts[part].reveal().decode() for part in parts))

    def client(self, service: str, key: str, secret: str, token: str | None = None) -> Any:
        once = Config(retries={"max_attempts": 0}, s3={"addressing_style": "path"})
        return boto3.client(
            service,
            region_name="default",
            endpoint_url=GATEWAY,
            verify=str(self.authority.file),
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
            config=once,
        )


MINUTE: Final = timedelta(minutes=1)


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def eventually(call: Callable[[], Any]) -> None:
    """The gateway makes its pools before it listens."""
    until = monotonic() + 60
    while True:
        try:
            call()
        except (BotoCoreError, ClientError):
            if monotonic() > until:
                raise
            sleep(0.2)
        else:
            return


@contextmanager
def issuer(cluster: TokenIssuer, authority: UpstreamAuthority) -> Iterator[None]:
    """The discovery document and the keys, as an API server publishes them."""
    pages = {
        "/.well-known/openid-configuration": dumps(
            {"issuer": cluster.issuer, "jwks_uri": f"{cluster.issuer}/openid/v1/jwks"}
        ).encode(),
        "/openid/v1/jwks": jwks(cluster),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages.get(self.path, b"")
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    host, _, port = ISSUER_AT.partition(":")
    server = ThreadingHTTPServer((host, int(port)), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.certificate(host))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    Thread(target=server.serve_forever, daemon=True).start()
    yield
    server.shutdown()


if __name__ == "__main__":
    sys.exit(main())
