from proxy.core.parts import Part, SecretKey


def test_a_part_is_called_what_documents_write() -> None:
    assert [part.value for part in Part] == [
        *("token", "username", "password", "accessKeyId", "secretAccessKey", "sessionToken")
    ]


def test_a_key_of_a_secret_is_a_value() -> None:
    assert {SecretKey("s", "k"): 1}[SecretKey("s", "k")] == 1
    assert SecretKey("s", "k") != SecretKey("s", "other")
