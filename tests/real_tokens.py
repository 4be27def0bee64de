"""Tokens of a real cluster (tests/data/k8s/README.md), and the clock at which they were young."""

import json
from base64 import urlsafe_b64decode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

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


# --- what the API server said of tokens ------------------------------------------------------------------

REVIEWS: Final = sorted(path.stem for path in FOLDER.glob("tokenreview/*.json"))


class Review(NamedTuple):
    token: bytes
    # The audiences that were asked for; its own where none were.
    audiences: tuple[str, ...]
    # What it vouches for; None where it refused.
    user: dict[str, Any] | None


def review(name: str) -> Review:
    read = json.loads((FOLDER / "tokenreview" / f"{name}.json").read_text())
    token, status = read["spec"]["token"], read["status"]
    joined = token if isinstance(token, str) else ".".join(token["$join"])
    own = (json.loads(DISCOVERY)["issuer"],)
    user = status["user"] if status.get("authenticated") else None
    return Review(joined.encode(), tuple(read["spec"].get("audiences", own)), user)
