import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from proxy.tokens.claims import MAX_LIFETIME, BoundPod, Claims, ClaimsFault, read_claims
from tests.pod_tokens import ISSUER, TokenIssuer
from tests.real_tokens import NAMES, real_claims

NOW = datetime(2026, 11, 20, 14, tzinfo=UTC)
BEGAN = int(NOW.timestamp())
GOOD = TokenIssuer().claims(NOW)
K8S = GOOD["kubernetes.io"]
MISSING: Any = object()


def read(claims: dict[str, Any], **changes: Any) -> Claims | ClaimsFault:
    merged = {name: value for name, value in {**claims, **changes}.items() if value is not MISSING}
    return read_claims(json.dumps(merged).encode())


def claims_of(claims: dict[str, Any], **changes: Any) -> Claims:
    result = read(claims, **changes)
    assert isinstance(result, Claims)
    return result


def test_the_claims_of_a_service_account_token_are_read() -> None:
    assert read(GOOD) == Claims(
        issuer=ISSUER,
        audiences=("podkey",),
        subject="system:serviceaccount:ml:trainer",
        token_id=GOOD["jti"],
        issued=NOW,
        not_before=NOW,
        expires=NOW + timedelta(hours=1),
        namespace="ml",
        service_account="trainer",
        pod=BoundPod("train-0", "0f3d8a52-1111-4222-8333-444455556666"),
        node="gpu-7",
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_real_token_has_claims_that_are_read(name: str) -> None:
    assert isinstance(read(real_claims(name)), Claims)


def test_what_kubernetes_may_leave_out_is_empty() -> None:
    about = {"namespace": "ml", "serviceaccount": {"name": "trainer"}}

    unbound = claims_of(GOOD, **{"kubernetes.io": about}, nbf=MISSING)
    foreign = claims_of(GOOD, **{"kubernetes.io": MISSING})

    assert (unbound.pod, unbound.node, unbound.namespace) == (None, "", "ml")
    assert unbound.not_before == unbound.issued
    assert (foreign.pod, foreign.namespace, foreign.service_account) == (None, "", "")


def test_an_audience_may_stand_alone_or_in_a_list() -> None:
    assert claims_of(GOOD, aud="podkey").audiences == ("podkey",)
    assert claims_of(GOOD, aud=["a", "podkey"]).audiences == ("a", "podkey")
    assert claims_of(GOOD, aud=[]).audiences == ()


def test_times_may_have_a_fraction() -> None:
    assert claims_of(GOOD, iat=BEGAN + 0.5).issued == NOW + timedelta(seconds=0.5)


def text(name: str) -> str:
    return f"has a claim `{name}` that is not printable text"


def time(name: str) -> str:
    return f"has a claim `{name}` that is not a time in seconds since 1970"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iss": MISSING}, "has no claim `iss`"),
        ({"iss": 7}, text("iss")),
        ({"iss": ""}, text("iss")),
        ({"iss": "https://x\n"}, text("iss")),
        ({"jti": MISSING}, "has no claim `jti`"),
        ({"jti": "\ud800"}, text("jti")),
        ({"sub": ["system:serviceaccount:ml:trainer"]}, text("sub")),
        ({"aud": MISSING}, "has no claim `aud`"),
        ({"aud": {"podkey": 1}}, "has a claim `aud` that is not text or a list of texts"),
        ({"aud": ["podkey", 1]}, "has a claim `aud` that is not text or a list of texts"),
        ({"exp": MISSING}, "has no claim `exp`"),
        ({"exp": str(BEGAN + 60)}, time("exp")),
        ({"exp": True}, time("exp")),
        ({"exp": -1}, time("exp")),
        ({"exp": 10**400}, time("exp")),
        ({"exp": (BEGAN + 60) * 1000}, time("exp")),
        ({"iat": MISSING}, "has no claim `iat`"),
        ({"iat": [BEGAN]}, time("iat")),
        ({"nbf": "now"}, time("nbf")),
        ({"nbf": None}, "has no claim `nbf`"),
        ({"exp": BEGAN}, "lives from 2026-11-20 14:00:00 to 2026-11-20 14:00:00 UTC"),
        (
            {"exp": BEGAN + int(MAX_LIFETIME.total_seconds()) + 1},
            "lives from 2026-11-20 14:00:00 to 2027-11-21 14:00:01 UTC",
        ),
        ({"kubernetes.io": "ml"}, "has a claim `kubernetes.io` that is not an object"),
        ({"kubernetes.io": None}, "has no claim `kubernetes.io`"),
        ({"kubernetes.io": {**K8S, "namespace": 1}}, text("kubernetes.io.namespace")),
        ({"kubernetes.io": {"namespace": "ml"}}, "has no claim `kubernetes.io.serviceaccount.name`"),
        (
            {"kubernetes.io": {**K8S, "serviceaccount": []}},
            "has a claim `kubernetes.io.serviceaccount` that is not an object",
        ),
        (
            {"kubernetes.io": {**K8S, "pod": "train-0"}},
            "has a claim `kubernetes.io.pod` that is not an object",
        ),
        ({"kubernetes.io": {**K8S, "pod": {"name": "train-0"}}}, "has no claim `kubernetes.io.pod.uid`"),
        ({"kubernetes.io": {**K8S, "node": {"name": ""}}}, text("kubernetes.io.node.name")),
    ],
)
def test_a_claim_of_the_wrong_type_is_named(changes: dict[str, Any], message: str) -> None:
    assert read(GOOD, **changes) == ClaimsFault(message)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "has claims that cannot be read (the text is not JSON)"),
        (b"[]", "has claims that cannot be read (the text is not a JSON object)"),
        (b'{"exp": NaN}', "has claims that cannot be read (the text is not JSON)"),
        (b'{"iss": "a", "iss": "b"}', "has claims that cannot be read (the text has a member twice)"),
        (b'{"exp": 1e999}', "has no claim `iat`"),
        (b'{"iat": 1e999}', time("iat")),
    ],
)
def test_claims_that_are_no_object_are_refused(payload: bytes, message: str) -> None:
    assert read_claims(payload) == ClaimsFault(message)
