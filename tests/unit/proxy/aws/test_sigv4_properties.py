"""Signed as botocore signs: the SDK that AWS's services are used with most."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from string import ascii_letters, digits
from unittest.mock import patch

from botocore import auth
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from proxy.aws.sigv4 import SigningKeys, SigningScope, Unsigned, payload_hash, signed_headers
from proxy.core.secret import Secret

PATHS = st.text(ascii_letters + digits + "/.~-_%:+=,@&'()*!$;", max_size=40).map(lambda text: "/" + text)
QUERIES = st.lists(
    st.from_regex(r"[A-Za-z0-9%._~-]{1,6}(=[A-Za-z0-9%._~-]{0,6})?", fullmatch=True), max_size=5
).map("&".join)
NAMES = st.from_regex(r"[Xx]-[A-Za-z0-9]{1,8}|Content-Type|User-Agent|Expect|Accept", fullmatch=True)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
MOMENTS = st.integers(0, 10**9).map(lambda s: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=s))
KEYS = st.text(ascii_letters + digits + "/+=", min_size=1, max_size=40)


@contextmanager
def botocores_clock(moment: datetime) -> Iterator[None]:
    with patch.object(auth, "get_current_datetime", lambda: moment):
        yield


@given(
    method=st.sampled_from(("GET", "POST", "PUT", "DELETE")),
    path=PATHS,
    query=QUERIES,
    headers=st.dictionaries(NAMES, VALUES, max_size=4),
    body=st.binary(max_size=64),
    secret=KEYS,
    token=st.none() | KEYS,
    moment=MOMENTS,
    region=st.sampled_from(("eu-central-1", "cn-north-1", "default")),
    service=st.sampled_from(("sts", "bedrock", "sagemaker")),
)
def test_a_request_is_signed_as_botocore_signs_it(
    *,
    method: str,
    path: str,
    query: str,
    headers: dict[str, str],
    body: bytes,
    secret: str,
    token: str | None,
    moment: datetime,
    region: str,
    service: str,
) -> None:
    headers = {name.lower(): value for name, value in headers.items()}
    url = f"https://service.example.com{path}" + (f"?{query}" if query else "")
    theirs = AWSRequest(method, url, {"host": "service.example.com", **headers}, body)
    with botocores_clock(moment):
        SigV4Auth(Credentials("example-id", secret, token), service, region).add_auth(theirs)

    ours = signed_headers(
        Unsigned(
            method, path, query, (("host", "service.example.com"), *headers.items()), payload_hash(body)
        ),
        SigningKeys("example-id", Secret(secret.encode()), Secret(token.encode()) if token else None),
        SigningScope(moment, region, service),
    )

    shown = {name: v.reveal().decode() if isinstance(v, Secret) else v for name, v in ours}
    assert shown == {name.lower(): value for name, value in theirs.headers.items()}
