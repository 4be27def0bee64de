"""Kinds of others that the chart makes: the fields that it writes, as their definitions have them.

Kubernetes' own schemas do not know them, and their definitions are not at hand as packages. So this is what
the Prometheus Operator (monitoring.coreos.com/v1) and cert-manager (cert-manager.io/v1) document of these
fields; any other field that the chart would write is refused here until somebody has looked it up.
"""

from typing import Any, Final

type Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string", "minLength": 1}
FLAG: Final[Schema] = {"type": "boolean"}
# A duration of Prometheus.
DURATION: Final[Schema] = {
    "type": "string",
    "pattern": "^(0|([0-9]+y)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?)$",
}
LABELS: Final[Schema] = {"type": "object", "additionalProperties": {"type": "string"}}


def things(*required: str, **properties: Schema) -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": properties,
    }


def many(of: Schema) -> Schema:
    return {"type": "array", "minItems": 1, "items": of}


METADATA: Final = things("name", "namespace", "labels", name=TEXT, namespace=TEXT, labels=LABELS)
SELECTOR: Final = things(matchLabels=LABELS)
ENDPOINT: Final = things("port", port=TEXT, interval=DURATION, honorLabels=FLAG)
RULE: Final = things(
    "alert", "expr", alert=TEXT, expr=TEXT, labels=LABELS, annotations=LABELS, **{"for": DURATION}
)
KEY: Final = things(
    algorithm={"enum": ["RSA", "ECDSA", "Ed25519"]},
    size={"type": "integer"},
    rotationPolicy={"enum": ["Never", "Always"]},
)

_SPECS: Final[dict[tuple[str, str], Schema]] = {
    ("monitoring.coreos.com/v1", "ServiceMonitor"): things(
        "selector", "endpoints", selector=SELECTOR, endpoints=many(ENDPOINT)
    ),
    ("monitoring.coreos.com/v1", "PodMonitor"): things(
        "selector",
        "podMetricsEndpoints",
        selector=SELECTOR,
        namespaceSelector=things(any=FLAG, matchNames=many(TEXT)),
        podMetricsEndpoints=many(ENDPOINT),
    ),
    ("monitoring.coreos.com/v1", "PrometheusRule"): things(
        "groups", groups=many(things("name", "rules", name=TEXT, rules=many(RULE)))
    ),
    ("cert-manager.io/v1", "Issuer"): things("selfSigned", selfSigned=things()),
    ("cert-manager.io/v1", "Certificate"): things(
        "secretName",
        "issuerRef",
        secretName=TEXT,
        issuerRef=things("name", name=TEXT, kind=TEXT),
        privateKey=KEY,
        dnsNames=many(TEXT),
    ),
}

FOREIGN: Final[dict[str, Schema]] = {
    kind: things(
        *("apiVersion", "kind", "metadata", "spec"),
        apiVersion={"const": version},
        kind={"const": kind},
        metadata=METADATA,
        spec=spec,
    )
    for (version, kind), spec in _SPECS.items()
}
