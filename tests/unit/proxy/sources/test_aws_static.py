import pytest

from proxy.core.aws_sources import AwsStatic
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.sources.aws_static import acquire
from proxy.sources.steps import Acquired
from tests.canary import Canary
from tests.source_world import World

KIND = AwsStatic("store")
WITH_TOKEN = AwsStatic("store", "id", "key", "token")
# Shaped as AWS shapes them, and nobody's.
AWS_ID, TEMPORARY_ID, AWS_SECRET = b"AKIA" + b"0" * 16, b"ASIA" + b"0" * 16, b"s" * 40


def world(**keys: bytes) -> World:
    return World(secrets={"store": keys})


def message(kind: AwsStatic, **keys: bytes) -> str:
    return world(**keys).failed(acquire(kind)).message


def test_the_two_keys_are_the_two_parts() -> None:
    assert world(accessKeyId=AWS_ID, secretAccessKey=AWS_SECRET + b"\n").acquired(acquire(KIND)) == Acquired(
        {Part.ACCESS_KEY_ID: Secret(AWS_ID), Part.SECRET_ACCESS_KEY: Secret(AWS_SECRET)}
    )


def test_a_session_token_is_read_where_its_key_is_named() -> None:
    acquired = world(id=TEMPORARY_ID, key=AWS_SECRET, token=b"t").acquired(acquire(WITH_TOKEN))
    assert acquired.parts[Part.SESSION_TOKEN] == Secret(b"t")


@pytest.mark.parametrize("key_id", [b"test:tester", b"minioadmin", b"0555b35654ad1656d804"])
def test_ids_of_other_stores_are_taken_as_they_are(key_id: bytes) -> None:
    world(accessKeyId=key_id, secretAccessKey=b"short").acquired(acquire(KIND))


def test_ids_and_secrets_of_one_length_could_be_either_and_are_taken() -> None:
    world(accessKeyId=AWS_SECRET, secretAccessKey=AWS_SECRET).acquired(acquire(KIND))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"accessKeyId": AWS_ID}, "the secret `store` lacks `secretAccessKey`"),
        ({"secretAccessKey": AWS_SECRET}, "the secret `store` lacks `accessKeyId`"),
        ({}, "lacks `accessKeyId`, `secretAccessKey`"),
        ({"accessKeyId": b"", "secretAccessKey": AWS_SECRET}, "`accessKeyId` of the secret `store` is empty"),
        ({"accessKeyId": AWS_SECRET, "secretAccessKey": AWS_ID}, "look swapped"),
        ({"accessKeyId": AWS_SECRET, "secretAccessKey": b"short-id"}, "look swapped"),
        ({"accessKeyId": b"shorter", "secretAccessKey": TEMPORARY_ID}, "look swapped"),
        ({"accessKeyId": b"id key", "secretAccessKey": AWS_SECRET}, "`accessKeyId` holds no access key id"),
        ({"accessKeyId": b"id/x", "secretAccessKey": AWS_SECRET}, "`accessKeyId` holds no access key id"),
        ({"accessKeyId": b"id,x", "secretAccessKey": AWS_SECRET}, "`accessKeyId` holds no access key id"),
        ({"accessKeyId": AWS_ID, "secretAccessKey": b"a b"}, "`secretAccessKey` holds blanks or odd bytes"),
        ({"accessKeyId": AWS_ID, "secretAccessKey": b"\xff"}, "`secretAccessKey` holds blanks or odd bytes"),
        ({"accessKeyId": TEMPORARY_ID, "secretAccessKey": AWS_SECRET}, "is a temporary one (ASIA…)"),
    ],
)
def test_what_is_wrong_with_the_pair_is_named(keys: dict[str, bytes], expected: str) -> None:
    assert expected in message(KIND, **keys)


def test_a_session_token_with_blanks_is_named() -> None:
    assert "`token` holds blanks" in message(WITH_TOKEN, id=AWS_ID, key=AWS_SECRET, token=b"a b")


def test_no_message_holds_a_byte_of_the_pair(canary: Canary) -> None:
    secret = canary.secret("secret access key")
    canary.watch(message(KIND, accessKeyId=f"{secret} ".encode(), secretAccessKey=b"x"), "message")
    canary.watch(message(KIND, accessKeyId=b"x", secretAccessKey=f"{secret} x".encode()), "message")
