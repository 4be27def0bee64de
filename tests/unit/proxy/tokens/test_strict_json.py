import pytest

from proxy.tokens.strict_json import NotJson, read_object


def test_an_object_is_read() -> None:
    assert read_object('{"a": [1, {"b": "é"}], "c": null}'.encode()) == {"a": [1, {"b": "é"}], "c": None}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b'{"a": NaN}', "is not JSON"),
        (b'{"a": -Infinity}', "is not JSON"),
        (b'{"a": 1} {}', "is not JSON"),
        (b"{'a': 1}", "is not JSON"),
        (b"\xef\xbb\xbf{}", "is not JSON"),
        (b'{"a": %s}' % (b"9" * 5000), "is not JSON"),
        ('{"a": 1}'.encode("utf-16"), "is not UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', "is not UTF-8"),
        (b'{"a": 1, "a": 1}', "has a member twice"),
        (b'{"a": {"b": 1, "\\u0062": 2}}', "has a member twice"),
        (b"[" * 60_000, "is nested too deeply"),
        (b'{"a":' * 10_000, "is nested too deeply"),
        (b"[]", "is not a JSON object"),
        (b'"text"', "is not a JSON object"),
        (b"null", "is not a JSON object"),
    ],
)
def test_what_two_readers_could_read_differently_is_refused(data: bytes, message: str) -> None:
    assert read_object(data) == NotJson(message)
