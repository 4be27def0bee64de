from proxy.core.github_source import GitHubApp, GitHubLevel
from proxy.core.parts import Part, SecretKey

KEY = SecretKey("app", "key.pem")


def test_an_app_is_known_by_its_client_id_or_its_id() -> None:
    assert GitHubApp(1, KEY, client_id="Iv1.a").issuer == "Iv1.a"
    assert GitHubApp(1, KEY, app_id=1234).issuer == "1234"


def test_it_gives_a_token() -> None:
    assert GitHubApp(1, KEY, app_id=1).parts == {Part.TOKEN}


def test_levels_stand_in_the_order_of_what_they_allow() -> None:
    assert [level.value for level in GitHubLevel] == ["read", "write", "admin"]
