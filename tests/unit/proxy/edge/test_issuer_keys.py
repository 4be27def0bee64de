import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest

from proxy.core.secret import Secret
from proxy.core.settings import IdentitySettings
from proxy.core.structs import replace
from proxy.edge import issuer_keys as module
from proxy.edge.issuer_keys import (
    WELL_KNOWN,
    DiscoveredKeys,
    FileKeys,
    IssuerKeys,
    NoKeys,
    Unreadable,
    read_file,
)
from proxy.edge.outgoing_requests import prepared
from proxy.sources.steps import HttpCall, HttpReply, StepFailed
from proxy.tokens.compact import MAX_TOKEN_BYTES
from proxy.tokens.jwks import MAX_JWKS_BYTES
from tests.canary import Canary
from tests.pod_tokens import ISSUER, TokenIssuer, jwks
from tests.source_world import Request

CLUSTER: Final = "https://kubernetes.default.svc"
PUBLIC: Final = "https://oidc.example.com/id/ab12"
# As an API server of 1.36 has it: an address of the control plane that no pod reaches.
ELSEWHERE: Final = "https://10.0.0.1:6443/openid/v1/jwks"

Answers = Mapping[str, bytes | HttpReply | StepFailed]


class Cluster:
    """Answers by URL, and remembers what it was asked. Each request has to be one that could be sent."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.asked: list[Request] = []

    async def call(self, call: HttpCall) -> HttpReply | StepFailed:
        sent = prepared(call)
        if isinstance(sent, StepFailed):
            return sent
        self.asked.append(Request.of(call))
        answer = self.answers[call.url]
        return HttpReply(200, {}, answer) if isinstance(answer, bytes) else answer

    @property
    def urls(self) -> list[str]:
        return [request.url for request in self.asked]


def document(issuer: str = ISSUER, jwks_uri: str = ELSEWHERE) -> bytes:
    return json.dumps({"issuer": issuer, "jwks_uri": jwks_uri}).encode()


@pytest.fixture
def signer() -> TokenIssuer:
    return TokenIssuer()


@pytest.fixture
def token(tmp_path: Path, canary: Canary) -> Path:
    file = tmp_path / "kubernetes"
    file.write_text(canary.secret("the token for the API server") + "\n")
    return file


@pytest.fixture
def settings(token: Path) -> IdentitySettings:
    return IdentitySettings("podkey", "", None, CLUSTER, None, str(token))


def fetched(door: Cluster, settings: IdentitySettings) -> IssuerKeys | NoKeys:
    return asyncio.run(DiscoveredKeys(door, settings).fetch())


def found(door: Cluster, settings: IdentitySettings) -> IssuerKeys:
    keys = fetched(door, settings)
    assert isinstance(keys, IssuerKeys), keys
    return keys


def refusal(door: Cluster, settings: IdentitySettings) -> str:
    keys = fetched(door, settings)
    assert isinstance(keys, NoKeys)
    return keys.message


def at_the_cluster(keys: bytes, discovery: bytes | None = None) -> dict[str, bytes]:
    return {
        CLUSTER + WELL_KNOWN: document() if discovery is None else discovery,
        f"{CLUSTER}/openid/v1/jwks": keys,
    }


# --- an API server, asked with a token ---------------------------------------------------------------


def test_keys_are_asked_of_the_server_that_the_token_is_for_whatever_it_says_of_itself(
    settings: IdentitySettings, signer: TokenIssuer, token: Path
) -> None:
    door = Cluster(at_the_cluster(jwks(signer)))

    keys = found(door, settings)

    assert keys.issuer == ISSUER
    assert [key.key_id for key in keys.keys.keys] == [signer.key_id]
    # Not one request goes to 10.0.0.1, with the token or without.
    assert door.urls == [CLUSTER + WELL_KNOWN, f"{CLUSTER}/openid/v1/jwks"]
    assert {request.headers["authorization"] for request in door.asked} == {
        f"Bearer {token.read_text().strip()}"
    }
    assert {request.method for request in door.asked} == {"GET"}


def test_a_query_of_the_keys_address_is_kept_and_a_slash_at_its_end_does_no_harm(
    settings: IdentitySettings, signer: TokenIssuer
) -> None:
    answers = at_the_cluster(jwks(signer), document(jwks_uri="https://10.0.0.1/keys?set=1#part"))
    door = Cluster({**answers, f"{CLUSTER}/keys?set=1": jwks(signer)})

    found(door, replace(settings, discovery_url=f"{CLUSTER}/"))

    assert door.urls[-1] == f"{CLUSTER}/keys?set=1"


def test_the_token_is_read_anew_each_time(
    settings: IdentitySettings, signer: TokenIssuer, token: Path, canary: Canary
) -> None:
    door = Cluster(at_the_cluster(jwks(signer)))
    found(door, settings)
    renewed = canary.secret("the next token")
    token.write_text(renewed)

    found(door, settings)

    assert door.asked[-1].headers["authorization"] == f"Bearer {renewed}"


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda file: file.unlink(), "does not exist"),
        (lambda file: file.write_bytes(b"a" * (MAX_TOKEN_BYTES + 1)), f"larger than {MAX_TOKEN_BYTES} bytes"),
        (lambda file: (file.unlink(), file.mkdir()), "is not a regular file"),
    ],
)
def test_without_its_token_an_api_server_is_not_asked(
    settings: IdentitySettings, token: Path, spoil: Callable[[Path], object], why: str
) -> None:
    spoil(token)
    door = Cluster({})

    message = refusal(door, settings)

    assert str(token) in message
    assert why in message
    assert "PODKEY_JWKS_FILE" in message
    assert door.asked == []


def test_a_file_that_is_no_token_is_not_sent_and_not_shown(
    settings: IdentitySettings, token: Path, canary: Canary
) -> None:
    first, second = canary.secret("one line"), canary.secret("another line")
    token.write_text(f"{first}\r\n{second}")
    door = Cluster({})

    message = refusal(door, settings)

    assert "line break" in message
    assert first not in message
    assert door.asked == []


@pytest.mark.parametrize("status", [401, 403])
def test_who_may_not_ask_is_told_of_the_role(settings: IdentitySettings, status: int) -> None:
    door = Cluster({CLUSTER + WELL_KNOWN: HttpReply(status, {}, b"{}")})

    message = refusal(door, settings)

    assert f"{CLUSTER}{WELL_KNOWN} answered {status}" in message
    assert "system:service-account-issuer-discovery" in message


def test_another_status_has_no_such_hint(settings: IdentitySettings) -> None:
    answers: Answers = {
        **at_the_cluster(b""),
        f"{CLUSTER}/openid/v1/jwks": HttpReply(503, {}, b"overloaded"),
    }

    message = refusal(Cluster(answers), settings)

    assert message.endswith(f"{CLUSTER}/openid/v1/jwks answered 503")


# --- a public issuer ---------------------------------------------------------------------------------


@pytest.fixture
def public(settings: IdentitySettings) -> IdentitySettings:
    return replace(settings, discovery_url=PUBLIC, discovery_token_file=None)


def test_a_public_issuer_is_asked_without_a_token_and_its_keys_where_it_says(
    public: IdentitySettings, signer: TokenIssuer
) -> None:
    keys_at = "https://keys.example.net/jwks"
    door = Cluster({PUBLIC + WELL_KNOWN: document(PUBLIC, keys_at), keys_at: jwks(signer)})

    assert found(door, public).issuer == PUBLIC
    assert door.urls == [PUBLIC + WELL_KNOWN, keys_at]
    assert [request.headers for request in door.asked] == [{"accept": "application/json"}] * 2


def test_a_public_issuer_that_bears_another_name_is_not_believed(public: IdentitySettings) -> None:
    door = Cluster({PUBLIC + WELL_KNOWN: document("https://evil.example.com")})

    message = refusal(door, public)

    assert "the issuer is https://evil.example.com" in message
    assert f"{PUBLIC} was expected" in message
    assert "PODKEY_DISCOVERY_URL" in message
    assert len(door.asked) == 1


def test_a_slash_at_the_end_makes_no_other_issuer(public: IdentitySettings, signer: TokenIssuer) -> None:
    door = Cluster({PUBLIC + WELL_KNOWN: document(f"{PUBLIC}/", PUBLIC), PUBLIC: jwks(signer)})

    # Tokens have to name it as it names itself.
    assert found(door, public).issuer == f"{PUBLIC}/"


# --- what is wrong with them -------------------------------------------------------------------------


def test_an_issuer_other_than_the_setting_says_is_refused_with_both_names(settings: IdentitySettings) -> None:
    door = Cluster(at_the_cluster(b"{}"))

    message = refusal(door, replace(settings, issuer="https://prod.example.com"))

    assert ISSUER in message
    assert "https://prod.example.com was expected" in message
    assert "PODKEY_ISSUER" in message
    assert len(door.asked) == 1


def test_an_issuer_that_is_the_settings_is_believed(settings: IdentitySettings, signer: TokenIssuer) -> None:
    door = Cluster(at_the_cluster(jwks(signer)))

    assert found(door, replace(settings, issuer=ISSUER)).issuer == ISSUER


@pytest.mark.parametrize("place", [WELL_KNOWN, "/openid/v1/jwks"])
@pytest.mark.parametrize(
    "why",
    [
        "kubernetes.default.svc answered with a redirect, which podkey does not follow",
        "the answer of kubernetes.default.svc is larger than 262144 bytes",
        "kubernetes.default.svc did not answer within 10 s",
        "kubernetes.default.svc refuses the connection",
    ],
)
def test_what_the_door_says_is_handed_on(
    settings: IdentitySettings, signer: TokenIssuer, place: str, why: str
) -> None:
    answers = {**at_the_cluster(jwks(signer)), CLUSTER + place: StepFailed(why)}

    assert refusal(Cluster(answers), settings) == f"the issuer's keys cannot be fetched: {why}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"<html>", "the discovery document is not JSON"),
        (b"[]", "the discovery document"),
        (b'{"issuer": "https://x.example.com"}', "names no `jwks_uri`"),
        (document(jwks_uri="http://10.0.0.1/jwks"), "which is no https URL"),
        (b" " * 70_000, "the discovery document has 70,000 bytes"),
    ],
)
def test_a_discovery_document_that_is_none_is_told(settings: IdentitySettings, text: bytes, why: str) -> None:
    message = refusal(Cluster(at_the_cluster(b"{}", text)), settings)

    assert message.startswith(f"{CLUSTER}: ")
    assert why in message


def private_half(signer: TokenIssuer) -> bytes:
    return json.dumps({"keys": [{**signer.jwk, "d": "AQAB"}]}).encode()


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        (lambda _: b"", "the key set is empty"),
        (lambda _: b'{"keys": []}', "the key set holds no key"),
        (lambda _: b"<html>", "the key set"),
        (lambda _: b" " * (MAX_JWKS_BYTES + 1), "more than 65,536"),
        (private_half, "publishes the private half"),
    ],
)
def test_keys_that_are_of_no_use_are_told_with_their_place(
    settings: IdentitySettings, signer: TokenIssuer, keys: Callable[[TokenIssuer], bytes], why: str
) -> None:
    message = refusal(Cluster(at_the_cluster(keys(signer))), settings)

    assert f"the issuer's keys at {CLUSTER}/openid/v1/jwks are of no use" in message
    assert why in message


# --- keys in a file ----------------------------------------------------------------------------------


def from_file(file: Path) -> IssuerKeys | NoKeys:
    return asyncio.run(FileKeys(file, ISSUER).fetch())


def test_keys_of_a_file_are_those_of_the_issuer_that_the_setting_names(
    tmp_path: Path, signer: TokenIssuer
) -> None:
    (tmp_path / "jwks.json").write_bytes(jwks(signer))

    keys = from_file(tmp_path / "jwks.json")

    assert isinstance(keys, IssuerKeys)
    assert (keys.issuer, keys.keys.names()) == (ISSUER, f"`{signer.key_id}`")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "does not exist (PODKEY_JWKS_FILE)"),
        (b" " * 2 * 1024 * 1024, f"is larger than {MAX_JWKS_BYTES} bytes"),
        (b"\xff\x00 garbage", "are of no use"),
        (b"", "the key set is empty"),
    ],
)
def test_a_file_without_keys_is_told_with_its_name(tmp_path: Path, content: bytes | None, why: str) -> None:
    file = tmp_path / "jwks.json"
    if content is not None:
        file.write_bytes(content)

    keys = from_file(file)

    assert isinstance(keys, NoKeys)
    assert str(file) in keys.message
    assert why in keys.message


def test_a_file_is_looked_at_sooner_than_an_api_server(tmp_path: Path, settings: IdentitySettings) -> None:
    assert FileKeys(tmp_path, ISSUER).fresh_seconds == 10
    assert DiscoveredKeys(Cluster({}), settings).fresh_seconds == 3600


# --- reading -----------------------------------------------------------------------------------------


def test_a_file_in_a_folder_that_is_missing_does_not_exist(tmp_path: Path) -> None:
    assert read_file(tmp_path / "missing" / "file", 10) == Unreadable("does not exist")


def test_a_file_of_exactly_the_most_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")

    assert read_file(tmp_path / "file", 10) == b"0123456789"
    assert read_file(tmp_path / "file", 9) == Unreadable("is larger than 9 bytes", is_too_large=True)


def test_a_folder_that_cannot_be_read_is_told_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module, "read_snapshot", denied)

    assert read_file(tmp_path / "file", 10) == Unreadable("cannot be read: Permission denied")


def test_the_token_is_no_text_on_its_way(settings: IdentitySettings, signer: TokenIssuer) -> None:
    calls: list[HttpCall] = []

    class Door(Cluster):
        async def call(self, call: HttpCall) -> HttpReply | StepFailed:
            calls.append(call)
            return await super().call(call)

    found(Door(at_the_cluster(jwks(signer))), settings)

    assert all(isinstance(dict(call.headers)["Authorization"], Secret) for call in calls)
