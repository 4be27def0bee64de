"""Signed as botocore signs: the SDK that AWS's services are used with most."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from random import Random
from unittest.mock import patch

from botocore import auth
from botocore.auth import S3ExpressAuth, S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.aws.sigv4 import (
    EXPRESS_TOKEN_HEADER,
    TOKEN_HEADER,
    Signed,
    SigningKeys,
    SigningScope,
    Style,
    Unsigned,
    canonical_headers,
    canonical_path,
    canonical_query,
    payload_hash,
    sign,
)
from proxy.core.secret import Secret
from tests.signing_strategies import (
    BODIES,
    GENERAL_PATHS,
    HEADERS,
    METHODS,
    MOMENTS,
    REGIONS,
    S3_PATHS,
    SERVICES,
    WIRE_VALUES,
    escaped,
    queries,
    signing_keys,
)

HOST = ("host", "service.example.com")
# The cache is for clients, which look up a session there; the session is given here.
express_auth = partial(S3ExpressAuth, identity_cache=None)
type Fields = tuple[tuple[str, str], ...]


@contextmanager
def botocores_clock(moment: datetime) -> Iterator[None]:
    with patch.object(auth, "get_current_datetime", lambda: moment):
        yield


def botocores(
    kind: Callable[[Credentials, str, str], SigV4Auth],
    unsigned: Unsigned,
    body: bytes,
    keys: SigningKeys,
    scope: SigningScope,
) -> dict[str, str]:
    """What botocore adds to a request."""
    url = f"https://service.example.com{unsigned.path}" + (f"?{unsigned.query}" if unsigned.query else "")
    request = AWSRequest(unsigned.method, url, {}, body)
    for name, value in unsigned.headers:
        request.headers.add_header(name, value)
    given_token = keys.session_token
    token = given_token.reveal().decode() if given_token else None
    credentials = Credentials(keys.access_key_id, keys.secret_access_key.reveal().decode(), token)
    with botocores_clock(scope.moment):
        kind(credentials, scope.service, scope.region).add_auth(request)
    added = {name.lower() for name in request.headers} - {name.lower() for name, _ in unsigned.headers}
    return {name.lower(): value for name, value in request.headers.items() if name.lower() in added}


def ours(signed: Signed) -> dict[str, str]:
    shown = {n: v.reveal().decode("latin-1") if isinstance(v, Secret) else v for n, v in signed.headers}
    assert shown["authorization"].endswith(f"Signature={signed.seed}")
    return shown


@given(
    method=METHODS,
    path=GENERAL_PATHS | S3_PATHS,
    query=queries(),
    headers=HEADERS,
    body=BODIES,
    keys=signing_keys(),
    moment=MOMENTS,
    region=REGIONS,
    service=SERVICES,
)
@example(
    method="POST",
    path="/model/anthropic.claude-v2%3A1/invoke",
    query="",
    headers=(("content-type", "application/json"),),
    body=b"{}",
    keys=SigningKeys("example-id", Secret(b"secret")),
    moment=datetime.fromisoformat("2026-03-04T12:00:00Z"),
    region="eu-central-1",
    service="bedrock",
)
def test_a_request_is_signed_as_botocore_signs_it(
    *,
    method: str,
    path: str,
    query: str,
    headers: Fields,
    body: bytes,
    keys: SigningKeys,
    moment: datetime,
    region: str,
    service: str,
) -> None:
    unsigned = Unsigned(method, path, query, (HOST, *headers), payload_hash(body))
    scope = SigningScope(moment, region, service)
    assert ours(sign(unsigned, keys, scope, Style.GENERAL)) == botocores(
        SigV4Auth, unsigned, body, keys, scope
    )


@given(
    method=METHODS,
    path=S3_PATHS,
    query=queries(),
    headers=HEADERS,
    body=BODIES,
    keys=signing_keys(),
    moment=MOMENTS,
    region=REGIONS,
    express=st.booleans(),
)
def test_a_request_to_s3_is_signed_as_botocore_signs_it(
    *,
    method: str,
    path: str,
    query: str,
    headers: Fields,
    body: bytes,
    keys: SigningKeys,
    moment: datetime,
    region: str,
    express: bool,
) -> None:
    hashed = payload_hash(body)
    unsigned = Unsigned(method, path, query, (HOST, *headers), hashed)
    kind = express_auth if express else S3SigV4Auth
    if express and keys.session_token is None:
        keys = SigningKeys(keys.access_key_id, keys.secret_access_key, Secret(b"token"))
    scope = SigningScope(moment, region, "s3express" if express else "s3")
    theirs = botocores(kind, unsigned, body, keys, scope)
    # botocore adds this one, and we are given it.
    assert theirs.pop("x-amz-content-sha256") == hashed

    content = ("x-amz-content-sha256", hashed)
    own = unsigned._replace(headers=(*unsigned.headers, content))
    token = EXPRESS_TOKEN_HEADER if express else TOKEN_HEADER
    assert ours(sign(own, keys, scope, Style.S3, token_header=token)) == theirs


# --- what botocore is not asked: it signs what it has encoded itself ---------------------------------


@given(st.data(), S3_PATHS)
def test_however_a_key_is_escaped_its_signature_is_the_same(data: st.DataObject, path: str) -> None:
    assert canonical_path(data.draw(escaped(path)), Style.S3) == path


@given(st.data(), queries())
def test_however_a_query_is_escaped_its_signature_is_the_same(data: st.DataObject, query: str) -> None:
    assert canonical_query(data.draw(escaped(query))) == canonical_query(query)


@given(queries(), st.randoms(use_true_random=False))
def test_the_order_of_a_query_is_its_own(query: str, chance: Random) -> None:
    pairs = query.split("&")
    chance.shuffle(pairs)
    assert canonical_query("&".join(pairs)) == canonical_query(query)


@given(WIRE_VALUES.filter(bool))
def test_a_value_is_the_bytes_of_the_wire(value: str) -> None:
    lines, _ = canonical_headers((("x-a", f"  {value}  {value} "),))
    assert lines == f"x-a:{value} {value}\n"
