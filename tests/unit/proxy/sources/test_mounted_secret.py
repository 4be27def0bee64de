import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.mounted_sources import JsonFields, MountedSecret
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.sources.mounted_secret import MAX_PART_BYTES, acquire
from proxy.sources.steps import Acquired, Failed, ReadFiles, Reply, SourceOutcome, StepFailed

TOKEN = MountedSecret("hf", ((Part.TOKEN, "api-key"),))
PAIR = MountedSecret("db", ((Part.PASSWORD, "pw"), (Part.USERNAME, "user")))


def outcome(kind: MountedSecret, reply: Reply) -> SourceOutcome:
    steps = acquire(kind)
    next(steps)
    with pytest.raises(StopIteration) as end:
        steps.send(reply)
    result: SourceOutcome = end.value.value
    return result


def message(kind: MountedSecret, reply: Reply) -> str:
    failed = outcome(kind, reply)
    assert isinstance(failed, Failed)
    return failed.message


def test_all_keys_are_read_in_one_step_so_that_a_swap_cannot_mix_them() -> None:
    assert next(acquire(TOKEN)) == ReadFiles("hf", ("api-key",))
    assert next(acquire(PAIR)) == ReadFiles("db", ("pw", "user"))


def test_a_key_that_holds_two_parts_is_read_once() -> None:
    both = MountedSecret("db", ((Part.PASSWORD, "same"), (Part.USERNAME, "same")))
    assert next(acquire(both)) == ReadFiles("db", ("same",))
    assert outcome(both, {"same": b"x"}) == Acquired(
        {Part.PASSWORD: Secret(b"x"), Part.USERNAME: Secret(b"x")}
    )


def test_each_part_is_what_its_key_holds() -> None:
    assert outcome(PAIR, {"user": b"ada", "pw": b"pa55word", "other": b"z"}) == Acquired(
        {
            Part.PASSWORD: Secret(b"pa55word"),
            Part.USERNAME: Secret(b"ada"),
        }
    )


@pytest.mark.parametrize(
    ("held", "value"),
    [
        (b"canary", b"canary"),
        (b"canary\n", b"canary"),
        (b"canary\r\n", b"canary"),
        # More than one is no habit of an editor: it stays, and placing says what is wrong.
        (b"canary\n\n", b"canary\n"),
        (b"canary\r", b"canary\r"),
        (b"canary\n\r\n", b"canary\n"),
        (b"can\nary\n", b"can\nary"),
        (b" canary ", b" canary "),
        (b"c" * MAX_PART_BYTES + b"\n", b"c" * MAX_PART_BYTES),
    ],
)
def test_one_line_break_at_the_end_is_taken_and_nothing_else(held: bytes, value: bytes) -> None:
    assert outcome(TOKEN, {"api-key": held}) == Acquired({Part.TOKEN: Secret(value)})


@pytest.mark.parametrize(
    ("held", "fault"),
    [
        (b"", "is empty: write the credential into it"),
        (b"\n", "is empty: write the credential into it"),
        (b" \t\n", "holds nothing but white space: write the credential into it"),
        (b"\n\r\n", "holds nothing but white space: write the credential into it"),
        (b"c" * (MAX_PART_BYTES + 1), "is larger than 65536 bytes: name the key that holds the credential"),
    ],
)
def test_a_key_without_a_credential_is_told_by_name(held: bytes, fault: str) -> None:
    assert message(TOKEN, {"api-key": held}) == f"the key `api-key` of the secret `hf` {fault}"
    assert message(PAIR, {"user": b"ada", "pw": held}) == f"the key `pw` of the secret `db` {fault}"


@pytest.mark.parametrize("reply", [{"user": b"ada"}, {"user": b"ada", "pw": None}])
def test_a_missing_key_is_told_with_the_fix(reply: dict[str, bytes | None]) -> None:
    assert message(PAIR, reply) == (
        "the secret `db` lacks `pw`: add it to the Secret, or correct `keys` in the CredentialSource"
    )


def test_a_secret_without_any_of_its_keys_is_perhaps_not_mounted() -> None:
    assert message(TOKEN, {}) == (
        "the secret `hf` is not mounted, or lacks `api-key`: create it in the pod's namespace with this key"
    )
    assert message(PAIR, {"user": None, "pw": None}) == (
        "the secret `db` is not mounted, or lacks `pw`, `user`: "
        "create it in the pod's namespace with these keys"
    )


def test_what_could_not_be_read_is_passed_on() -> None:
    assert message(TOKEN, StepFailed("permission denied")) == (
        "the secret `hf` cannot be read: permission denied"
    )


@given(st.dictionaries(st.sampled_from(["pw", "user", "x"]), st.one_of(st.none(), st.binary(max_size=20))))
def test_no_message_shows_what_a_key_holds(files: dict[str, bytes | None]) -> None:
    marked = {key: held and b"canary" + held + b"canary" for key, held in files.items()}
    result = outcome(PAIR, marked)
    assert "canary" not in repr(result)
    if isinstance(result, Acquired):
        assert result.parts.keys() == PAIR.parts
        assert all(result.parts.values())


# --- a key that holds JSON ---------------------------------------------------------------------------

INSIDE = MountedSecret(
    "cloud",
    json=JsonFields("credentials.json", ((Part.PASSWORD, ("auth", "pass/word")), (Part.USERNAME, ("user",)))),
)


def test_parts_are_taken_from_fields_of_a_json_object() -> None:
    whole = {"user": "ada", "auth": {"pass/word": "pa55word\n"}, "other": [1, 2]}

    assert next(acquire(INSIDE)) == ReadFiles("cloud", ("credentials.json",))
    assert outcome(INSIDE, {"credentials.json": json.dumps(whole).encode()}) == Acquired(
        {Part.PASSWORD: Secret(b"pa55word\n"), Part.USERNAME: Secret(b"ada")}
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "the secret `cloud` is not mounted, or lacks `credentials.json`"),
        (b"pa55word", "holds no JSON object"),
        (b"[]", "holds no JSON object"),
        (b"\xff", "holds no JSON object"),
        (b"[" * 100_000, "holds no JSON object"),
        (b"{}", "has no text in the field `auth/pass/word`"),
        (b'{"auth": "pa55word", "user": "ada"}', "has no text in the field `auth/pass/word`"),
        (b'{"auth": {"pass/word": 7}, "user": "ada"}', "has no text in the field `auth/pass/word`"),
        (b'{"auth": {"pass/word": "\\ud800"}, "user": "ada"}', "has no text in the field `auth/pass/word`"),
        (b'{"auth": {"pass/word": ""}, "user": "ada"}', "the field `auth/pass/word` in the key"),
    ],
)
def test_what_is_wrong_with_the_json_is_named_and_not_shown(data: bytes | None, said: str) -> None:
    found = message(INSIDE, {"credentials.json": data})

    assert said in found
    assert "pa55word" not in found


def test_a_secret_with_json_that_cannot_be_read_says_why() -> None:
    assert "cannot be read: it moves" in message(INSIDE, StepFailed("it moves"))
