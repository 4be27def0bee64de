import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.mounted_sources import JsonFields, MountedSecret
from proxy.core.parts import Part
from proxy.documents.mounted_sources import FIELDS, KEYS, MOUNTED_SECRET, rendered
from proxy.documents.reading import INVALID
from tests.document_strategies import JSON_PATHS, codes, read_shape


def test_a_key_alone_is_the_token() -> None:
    short = read_shape(MOUNTED_SECRET, "{secretName: hf, key: api-key}")
    assert short == (MountedSecret("hf", ((Part.TOKEN, "api-key"),)), [])
    assert read_shape(MOUNTED_SECRET, "{secretName: hf, keys: {token: api-key}}") == short


def test_every_part_has_its_key() -> None:
    written = ", ".join(f"{part.value}: key-{n}" for n, part in enumerate(Part))
    kind, problems = read_shape(MOUNTED_SECRET, f"{{secretName: s, keys: {{{written}}}}}")
    assert problems == []
    assert dict(kind.keys) == {part: f"key-{n}" for n, part in enumerate(Part)}


def test_the_order_of_the_keys_says_nothing() -> None:
    one, _ = read_shape(KEYS, "{username: u, password: p}")
    other, _ = read_shape(KEYS, "{password: p, username: u}")
    assert one == other == ((Part.PASSWORD, "p"), (Part.USERNAME, "u"))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{secretName: s}", "exactly_one"),
        ("{secretName: s, key: k, keys: {token: t}}", "exactly_one"),
        ("{secretName: s, keys: {}}", "bad_value"),
        ("{key: k}", "missing_key"),
        ("{secretName: S_, key: k}", "bad_value"),
        ("{secretName: s, key: a/b}", "bad_value"),
        ("{secretName: s, keys: {tokn: a}}", "unknown_key"),
    ],
)
def test_what_is_no_mounted_secret_is_told(text: str, code: str) -> None:
    kind, problems = read_shape(MOUNTED_SECRET, text)
    assert kind is INVALID
    assert codes(problems) == [code]


def test_fields_of_a_json_object_are_named_or_pointed_at() -> None:
    text = "{secretName: s, json: {key: config, fields: {token: /auth/a~1b~0, username: user}}}"
    fields = ((Part.TOKEN, ("auth", "a/b~")), (Part.USERNAME, ("user",)))
    assert read_shape(MOUNTED_SECRET, text) == (MountedSecret("s", json=JsonFields("config", fields)), [])


@pytest.mark.parametrize(
    ("fields", "code"),
    [("{}", "bad_value"), ("{token: /a~2}", "bad_value"), ("{token: /a~}", "bad_value")],
)
def test_a_pointer_that_points_nowhere_is_told(fields: str, code: str) -> None:
    kind, problems = read_shape(MOUNTED_SECRET, f"{{secretName: s, json: {{key: k, fields: {fields}}}}}")
    assert kind is INVALID
    assert codes(problems) == [code]


NAMES = st.from_regex("[a-z][a-z0-9]{0,5}-k", fullmatch=True)


@given(NAMES, st.dictionaries(st.sampled_from(Part), NAMES, min_size=1))
def test_what_is_rendered_is_read_again(name: str, keys: dict[Part, str]) -> None:
    kind = MountedSecret(name, tuple(sorted(keys.items(), key=lambda item: item[0].name)))
    document = rendered(kind)
    assert [*document] == [field.name for field in FIELDS]
    assert read_shape(MOUNTED_SECRET, json.dumps(document["mountedSecret"])) == (kind, [])


@given(NAMES, st.dictionaries(st.sampled_from(Part), JSON_PATHS, min_size=1))
def test_so_are_fields_of_a_json_object(key: str, found: dict[Part, tuple[str, ...]]) -> None:
    fields = tuple(sorted(found.items(), key=lambda item: item[0].name))
    kind = MountedSecret("s", json=JsonFields(key, fields))
    assert read_shape(MOUNTED_SECRET, json.dumps(rendered(kind)["mountedSecret"])) == (kind, [])
