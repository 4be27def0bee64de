"""Tokens of a real cluster (tests/data/k8s/README.md), and the clock at which they were young."""

import json
from base64 import urlsafe_b64decode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent / "data" / "k8s"
NAMES: Final = sorted(path.name.removesuffix(".token.json") for path in FOLDER.glob("tokens/*.json"))
JWKS: Final = (FOLDER / "jwks.json").read_bytes()
DISCOVERY: Final = (FOLDER / "openid-configuration.json").read_bytes()


def real_token(name: str) -> bytes:
    parts = json.loads((FOLDER / "tokens" / f"{name}.token.json").read_text())
    return ".".join((parts["header"], parts["payload"], parts["signature"])).encode()


def real_claims(name: str) -> dict[str, Any]:
    payload = real_token(name).split(b".")[1]
    claims: dict[str, Any] = json.loads(urlsafe_b64decode(payload + b"=="))
    return claims


def issued(name: str) -> datetime:
    return datetime.fromtimestamp(real_claims(name)["iat"], UTC)
