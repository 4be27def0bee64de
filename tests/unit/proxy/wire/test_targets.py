import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.authority import Authority
from proxy.wire.framing import NO_BODY
from proxy.wire.outcomes import BadHead, HeadFault
from proxy.wire.request_head import RequestHead
from proxy.wire.targets import AbsoluteForm, AsteriskForm, AuthorityForm, OriginForm, TargetForm, split_target


def split(method: str, target: str) -> TargetForm | BadHead:
    return split_target(RequestHead(method, target, 1, (("Host", "a.example"),), 0, NO_BODY))


@pytest.mark.parametrize(
    ("method", "target", "form"),
    [
        ("GET", "/", OriginForm("/")),
        ("GET", "/a/../b?c=/d?e", OriginForm("/a/../b?c=/d?e")),
        ("GET", "//a.example/b", OriginForm("//a.example/b")),
        ("OPTIONS", "/a", OriginForm("/a")),
        ("OPTIONS", "*", AsteriskForm()),
        ("CONNECT", "A.Example:443", AuthorityForm("a.example", 443)),
        ("CONNECT", "10.0.0.1:8443", AuthorityForm("10.0.0.1", 8443)),
        ("CONNECT", "[2001:DB8::1]:443", AuthorityForm("2001:db8::1", 443)),
        ("GET", "http://a.example", AbsoluteForm("http", Authority("a.example", None), "/")),
        ("GET", "HTTP://A.Example:80/B?C", AbsoluteForm("http", Authority("a.example", 80), "/B?C")),
        ("PUT", "https://a.example/b", AbsoluteForm("https", Authority("a.example", None), "/b")),
        ("GET", "http://a.example?b=/c", AbsoluteForm("http", Authority("a.example", None), "/?b=/c")),
        ("GET", "http://[::1]:80/", AbsoluteForm("http", Authority("::1", 80), "/")),
        ("GET", "http://a.example//b@c", AbsoluteForm("http", Authority("a.example", None), "//b@c")),
        ("OPTIONS", "http://a.example", AbsoluteForm("http", Authority("a.example", None), "*")),
        ("OPTIONS", "http://a.example/", AbsoluteForm("http", Authority("a.example", None), "/")),
        ("OPTIONS", "http://a.example?b", AbsoluteForm("http", Authority("a.example", None), "/?b")),
    ],
)
def test_each_form_is_told_from_the_others(method: str, target: str, form: TargetForm) -> None:
    assert split(method, target) == form


FRAGMENT = "the target has a fragment (RFC 9112 §3.2)"
ASTERISK = "the target is `*`, which only OPTIONS takes (RFC 9112 §3.2.4)"
TUNNEL = "the target of a CONNECT is not a host and a port (RFC 9112 §3.2.3)"
NEITHER = "the target is neither a path nor an http or https URL (RFC 9112 §3.2)"
AUTHORITY = "the target's authority is not a host with an optional port (RFC 9112 §3.2.2)"


@pytest.mark.parametrize(
    ("method", "target", "detail"),
    [
        ("GET", "/a#b", FRAGMENT),
        ("GET", "http://a.example/#", FRAGMENT),
        ("GET", "http://a.example#@b.example/", FRAGMENT),
        ("CONNECT", "a.example:443#", FRAGMENT),
        ("GET", "*", ASTERISK),
        ("options", "*", ASTERISK),
        ("OPTIONS", "**", NEITHER),
        ("OPTIONS", "*?a", NEITHER),
        ("CONNECT", "a.example", TUNNEL),
        ("CONNECT", "a.example:", TUNNEL),
        ("CONNECT", "a.example:0", TUNNEL),
        ("CONNECT", "a.example:65536", TUNNEL),
        ("CONNECT", ":443", TUNNEL),
        ("CONNECT", "user@a.example:443", TUNNEL),
        ("CONNECT", "::1:443", TUNNEL),
        ("CONNECT", "/", TUNNEL),
        ("CONNECT", "*", TUNNEL),
        ("CONNECT", "https://a.example:443", TUNNEL),
        ("CONNECT", "a.example:443/", TUNNEL),
        ("GET", "a.example:443", NEITHER),
        ("GET", "a.example", NEITHER),
        ("GET", "\\a", NEITHER),
        ("GET", "?a", NEITHER),
        ("GET", "http:/a.example", NEITHER),
        ("GET", "http:a", NEITHER),
        ("GET", "ftp://a.example/", NEITHER),
        ("GET", "file:///etc/passwd", NEITHER),
        ("GET", "httpx://a.example/", NEITHER),
        ("GET", "http:///a", AUTHORITY),
        ("GET", "http://", AUTHORITY),
        ("GET", "http://:80/", AUTHORITY),
        ("GET", "http://user@a.example/", AUTHORITY),
        ("GET", "http://user:pass@a.example/", AUTHORITY),
        ("GET", "http://a.example\\@b.example/", AUTHORITY),
        ("GET", "http://a.example:x/", AUTHORITY),
        ("GET", "http://[::1/", AUTHORITY),
    ],
)
def test_a_target_of_no_form_is_refused(method: str, target: str, detail: str) -> None:
    assert split(method, target) == BadHead(HeadFault.MALFORMED, detail)


@given(
    method=st.sampled_from(["GET", "CONNECT", "OPTIONS"]),
    target=st.one_of(st.text(min_size=1), st.text("htps:/[]@#?*a.1%\\", min_size=1)),
)
def test_every_target_gets_an_answer_and_what_is_sent_on_is_a_path(method: str, target: str) -> None:
    form = split(method, target)

    if isinstance(form, OriginForm | AbsoluteForm):
        assert form.target.startswith("/") or (method, form.target) == ("OPTIONS", "*")
        assert target.endswith(form.target.removeprefix("/").removeprefix("*"))
