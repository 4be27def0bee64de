"""Before anything is measured: what a subject owes to a request is there when it arrives at the upstream."""

import hashlib
import hmac

from bench.ground import Ground
from bench.load import verified
from bench.peers.envoy import REGION
from bench.peers.subject import Credentials, Owes
from bench.program import Running
from tests.s3_signer import HMAC_ALGORITHM, Signer, canonical_request, sha256_hex, signing_key

METHODS = ("GET", "PUT")


def headers_for(owes: Owes, credentials: Credentials) -> dict[str, str]:
    """What the client sends. A client of S3 leaves the signature to who stands between (docs/s3.md)."""
    if owes is Owes.SIGNATURE:
        return {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    return {"Authorization": f"Bearer {credentials.placeholder}"}


def sdk_headers(host: str, credentials: Credentials, target: str) -> dict[str, str]:
    """What an SDK sends that has our placeholder for a key: its own signature, as of now."""
    signed = Signer(credentials.placeholder_keys, REGION).signed("GET", host, target)
    return {name: text for name, text in signed.items() if name != "host"}


def must_arrive(ground: Ground, running: Running, credentials: Credentials) -> str:
    """What its two sides have agreed on for their TLS."""
    subject, place = running.subject, running.place
    headers = headers_for(subject.owes, credentials)
    ciphers = ""
    for method in METHODS:
        before = len(ground.seen())
        answer = verified(ground, place, place.folder / subject.trust, headers, method)
        came = ground.seen()[before:]
        fault = _fault(subject.owes, came, headers, credentials)
        if fault or answer.status != 200:
            raise SystemExit(
                f"bench: {subject.title}: a {method} was answered {answer.status}, and {fault or 'arrived'}"
                f"\n{running.words()}"
            )
        ciphers = f"{answer.cipher} from the client, {came[0]['cipher']} to the upstream"
    return ciphers


def _fault(owes: Owes, came: list[dict[str, str]], sent: dict[str, str], credentials: Credentials) -> str:
    if len(came) != 1:
        return f"{len(came)} requests arrived"
    (one,) = came
    match owes:
        case Owes.BEARER:
            right = one["authorization"] == f"Bearer {credentials.token}"
        case Owes.NOTHING:
            right = one["authorization"] == sent["Authorization"]
        case Owes.SIGNATURE:
            right = _is_signed(one, credentials)
    return "" if right else "arrived without the right credential"


def _is_signed(one: dict[str, str], credentials: Credentials) -> bool:
    algorithm, _, rest = one["authorization"].partition(" ")
    parts = dict(part.strip().split("=", 1) for part in rest.split(",") if "=" in part)
    if algorithm != HMAC_ALGORITHM or not {"Credential", "SignedHeaders", "Signature"} <= parts.keys():
        return False
    key_id, _, scope = parts["Credential"].partition("/")
    covered = {name: one.get(name, "") for name in parts["SignedHeaders"].split(";")}
    canonical = canonical_request(one["method"], one["target"], covered, one["x-amz-content-sha256"])
    text = "\n".join([algorithm, one["x-amz-date"], scope, sha256_hex(canonical.encode())])
    key = signing_key(credentials.keys, scope.split("/")[0], *scope.split("/")[1:3])
    return key_id == credentials.keys.access_key_id and _hmac(key, text) == parts["Signature"]


def _hmac(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
