from proxy.core.parts import Part
from proxy.core.vault_source import KV_MAX_AGE, VaultAuth, VaultDynamic, VaultKv2, VaultMethod, VaultSecret

AUTH = VaultAuth(VaultMethod.KUBERNETES, "kubernetes", "trainer", "vault")


def test_a_secret_gives_the_parts_of_its_fields() -> None:
    token = VaultKv2("secret", "api", ((Part.TOKEN, "key"),))
    pair = VaultDynamic("database/creds/x", ((Part.PASSWORD, "password"), (Part.USERNAME, "username")))
    assert VaultSecret("https://v", AUTH, token).parts == {Part.TOKEN}
    assert VaultSecret("https://v", AUTH, pair).parts == {Part.USERNAME, Part.PASSWORD}


def test_a_secret_that_tells_no_lifetime_is_read_again_as_often_as_vaults_own_agent_does() -> None:
    assert VaultKv2("secret", "api", ()).max_age == KV_MAX_AGE
    assert KV_MAX_AGE.total_seconds() == 300


def test_a_source_can_be_the_key_of_a_lease() -> None:
    one = VaultSecret("https://v", AUTH, VaultDynamic("a", (), (("k", "v"),)))
    assert hash(one) == hash(VaultSecret("https://v", AUTH, VaultDynamic("a", (), (("k", "v"),))))
