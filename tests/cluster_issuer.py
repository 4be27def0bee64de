"""The API server as a sidecar needs it: it tells the keys of the cluster's issuer, to who has its token.

It is trusted by the cluster's authority alone, and lets nobody in without a token of its own audience.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import jwt

from proxy.core import contract
from tests.hand_kubelet import API_AUDIENCE
from tests.pod_tokens import jwks
from tests.sidecar_pod import SidecarPod
from tests.stand_in_server import PROVIDERS
from tests.upstream_authority import UpstreamAuthority
from tests.upstream_requests import Request
from tests.upstreams import Upstream, answering, tls_context

CLUSTER: Final = contract.CLUSTER_URL.removeprefix("https://")
_JSON: Final = ("content-type", "application/json")


@contextmanager
def api_server(pod: SidecarPod, authority: UpstreamAuthority) -> Iterator[Upstream]:
    """At PROVIDERS, which the pod's `internet` has to hold."""
    pod.resolve(CLUSTER, to=[PROVIDERS])
    context = tls_context(*authority.certificate(CLUSTER))

    def only_with_token(data: bytes) -> Any:
        answer = answering(200, data, _JSON)

        def handle(request: Request) -> None:
            (found,) = request.header("authorization")
            audience = token_audience(found.removeprefix("Bearer "))
            (answer if audience == [API_AUDIENCE] else answering(401, b"", _JSON))(request)

        return handle

    document = f'{{"issuer": "{pod.issuer.issuer}", "jwks_uri": "https://10.210.0.1:6443/openid/v1/jwks", '
    document += '"response_types_supported": ["id_token"], "subject_types_supported": ["public"], '
    document += '"id_token_signing_alg_values_supported": ["ES256"]}'
    routes = {
        "/.well-known/openid-configuration": only_with_token(document.encode()),
        "/openid/v1/jwks": only_with_token(jwks(pod.issuer)),
    }
    with Upstream(context, routes, ns=pod.network.net, addresses=[PROVIDERS]) as server:
        yield server


def token_audience(token: str) -> list[str]:
    found: list[str] = jwt.decode(token, options={"verify_signature": False})["aud"]
    return found
