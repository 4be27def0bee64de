"""Envoy, from .ci/envoy: credential_injector for a bearer token, aws_request_signing for S3."""

import json
from typing import Any, Final

from bench.ground import ROOT, Place
from bench.peers.subject import Credentials, Owes, Program, Subject

BINARY: Final = ROOT / ".tools/envoy/envoy/_bin/envoy"
MISSING: Final = "" if BINARY.exists() else "Envoy is not installed: run .ci/envoy"
API: Final = "type.googleapis.com/envoy.extensions"
REGION: Final = "us-east-1"


def bearer(place: Place, credentials: Credentials) -> Program:
    secret = {"name": "token", "generic_secret": {"secret": {"inline_string": f"Bearer {credentials.token}"}}}
    generic = {
        "@type": f"{API}.http.injected_credentials.generic.v3.Generic",
        "credential": {"name": "token"},
    }
    filter_ = {
        "@type": f"{API}.filters.http.credential_injector.v3.CredentialInjector",
        "overwrite": True,
        "credential": {"name": "envoy.http.injected_credentials.generic", "typed_config": generic},
    }
    return _program(place, "envoy.filters.http.credential_injector", filter_, [secret])


def signature(place: Place, credentials: Credentials) -> Program:
    keys = credentials.keys
    provider = {"access_key_id": keys.access_key_id, "secret_access_key": keys.secret_access_key}
    filter_ = {
        "@type": f"{API}.filters.http.aws_request_signing.v3.AwsRequestSigning",
        "service_name": "s3",
        "region": REGION,
        # Bodies are not read before they are sent; ours are not either.
        "use_unsigned_payload": True,
        "credential_provider": {"inline_credential": provider},
    }
    return _program(place, "envoy.filters.http.aws_request_signing", filter_, [])


def _program(place: Place, name: str, filter_: dict[str, Any], secrets: list[dict[str, Any]]) -> Program:
    file = place.folder / "envoy.json"
    file.write_text(json.dumps(_bootstrap(place, name, filter_, secrets)))
    file.chmod(0o644)
    argv = [
        str(BINARY),
        "--config-path",
        str(file),
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--log-level",
        "error",
    ]
    return Program(argv, readable=[BINARY])


def _bootstrap(
    place: Place, name: str, filter_: dict[str, Any], secrets: list[dict[str, Any]]
) -> dict[str, Any]:
    manager = {
        "@type": f"{API}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "codec_type": "HTTP1",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream", "timeout": "0s"}}],
                }
            ]
        },
        "http_filters": [
            {"name": name, "typed_config": filter_},
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{API}.filters.http.router.v3.Router"},
            },
        ],
    }
    certificate = {
        "certificate_chain": {"filename": str(place.certificate.chain)},
        "private_key": {"filename": str(place.certificate.key)},
    }
    downstream = {
        "@type": f"{API}.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"tls_certificates": [certificate]},
    }
    verified = {
        "trusted_ca": {"filename": str(place.authority)},
        "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": place.host}}],
    }
    upstream = {
        "@type": f"{API}.transport_sockets.tls.v3.UpstreamTlsContext",
        "sni": place.host,
        # As a client Envoy stops at 1.2 where nothing is said; ours and the others do not.
        "common_tls_context": {
            "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
            "validation_context": verified,
        },
    }
    listener = {
        "address": _address("127.0.0.1", place.port),
        "filter_chains": [
            {
                "filters": [{"name": "http", "typed_config": manager}],
                "transport_socket": {"name": "tls", "typed_config": downstream},
            }
        ],
    }
    endpoint = {"endpoint": {"address": _address(place.address, 443)}}
    cluster = {
        "name": "upstream",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "upstream", "endpoints": [{"lb_endpoints": [endpoint]}]},
        "transport_socket": {"name": "tls", "typed_config": upstream},
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster], "secrets": secrets}}


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


SUBJECTS: Final = (
    Subject("envoy", "Envoy", Owes.BEARER, bearer, MISSING),
    Subject("envoy-s3", "Envoy SigV4", Owes.SIGNATURE, signature, MISSING),
)
