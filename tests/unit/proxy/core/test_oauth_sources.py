import pytest

from proxy.core.oauth_sources import (
    JWT_TYPE,
    ClientAuth,
    FederatedAssertion,
    Oauth2ClientCredentials,
    PrivateKeyJwt,
    ProjectedActor,
    SecretBasic,
    SecretPost,
    TokenExchange,
)
from proxy.core.parts import Part, SecretKey
from proxy.core.signing import SigningAlgorithm

URL = "https://login.example.com/token"
KEY = SecretKey("client", "secret")


def test_both_kinds_give_a_token_and_nothing_else() -> None:
    credentials = Oauth2ClientCredentials(URL, "trainer", SecretBasic(KEY))
    assert credentials.parts == TokenExchange(URL, "podkey").parts == frozenset({Part.TOKEN})


@pytest.mark.parametrize(
    "auth", [SecretBasic(KEY), SecretPost(KEY), PrivateKeyJwt(KEY), FederatedAssertion("podkey")]
)
def test_sources_are_values_that_a_lease_can_be_kept_by(auth: ClientAuth) -> None:
    one, same = (TokenExchange(URL, "podkey", client_id="trainer", auth=auth) for _ in range(2))
    assert {one: "lease"}[same] == "lease"
    assert Oauth2ClientCredentials(URL, "trainer", auth) != Oauth2ClientCredentials(URL, "other", auth)


def test_what_is_left_out_is_what_most_servers_expect() -> None:
    assert PrivateKeyJwt(KEY).algorithm is SigningAlgorithm.RS256
    assert TokenExchange(URL, "podkey").subject_token_type == JWT_TYPE == ProjectedActor("a").token_type
