import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.authority import Authority, read_authority


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("api.openai.com", "api.openai.com", None),
        ("API.OpenAI.com:443", "api.openai.com", 443),
        ("localhost:1", "localhost", 1),
        ("a.example:65535", "a.example", 65_535),
        ("a.example:00443", "a.example", 443),
        ("a.example.", "a.example.", None),
        ("my_bucket.s3.amazonaws.com", "my_bucket.s3.amazonaws.com", None),
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("[::1]", "::1", None),
        ("[2001:DB8::A]:443", "2001:db8::a", 443),
        ("[::ffff:10.0.0.1]:80", "::ffff:10.0.0.1", 80),
        ("..", "..", None),  # the host is not judged as a name here
    ],
)
def test_a_host_and_its_port_are_read(text: str, host: str, port: int | None) -> None:
    assert read_authority(text) == Authority(host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":443",
        "a.example:",
        "a.example:0",
        "a.example:65536",
        "a.example:000443",
        "a.example:+443",
        "a.example:-1",
        "a.example: 443",
        "a.example:44３",  # a digit to `int`, and none here
        "a.example:https",
        "a.example:443:443",
        "user@a.example",
        "user:password@a.example:443",
        "@a.example",
        " a.example",
        "a.example ",
        "a.example\n",
        "a example",
        "a.example/",
        "a.example?b",
        "a.example#b",
        "a.example\\b",
        "a%2eexample",
        "a.example,b.example",
        "a;b",
        "bücher.example",
        "a\0b",
        "::1",
        "[]",
        "[::1",
        "::1]",
        "[::1]a",
        "[::1]:",
        "[::1]443",
        "[fe80::1%eth0]",
        "[1.2.3.4]",
        "[a.example]",
        "[v1.a]",
        "[:::1]",
        "[[::1]]",
    ],
)
def test_everything_else_is_malformed(text: str) -> None:
    assert read_authority(text) is None


@given(text=st.one_of(st.text(), st.text("[]:.aF019%@-_ ", max_size=12)))
def test_what_is_read_can_be_written_and_read_again(text: str) -> None:
    authority = read_authority(text)

    if authority is not None:
        host, port = authority
        written = f"[{host}]" if ":" in host else host
        assert read_authority(written if port is None else f"{written}:{port}") == authority
        assert host == host.lower()
        assert host.isascii()
