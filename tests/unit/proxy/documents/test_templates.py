import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.globs import Glob
from proxy.core.hosts import HostTemplate, parse_hostname
from proxy.core.services import PathTemplate
from proxy.documents.problems import Fault
from proxy.documents.shapes import Text
from proxy.documents.templates import (
    BASE_PATH,
    BLOB_HOST,
    DRAWN,
    HOST_TEMPLATE,
    PATH_TEMPLATE,
    PLACEHOLDER_VALUE,
    parse_host_template,
)
from tests.document_strategies import read_shape


@pytest.mark.parametrize(
    ("shape", "text", "value"),
    [
        (HOST_TEMPLATE, "api.acme.example", HostTemplate("api.acme.example")),
        (
            HOST_TEMPLATE,
            "'{bucket+}.s3.{aws_region}.acme.example'",
            HostTemplate("{bucket+}.s3.{aws_region}.acme.example"),
        ),
        (HOST_TEMPLATE, "s3-{name}.acme.example", HostTemplate("s3-{name}.acme.example")),
        # What has a shape of its own may share a label, and stand twice.
        (
            HOST_TEMPLATE,
            "'{name}-{aws_account}.acme.example'",
            HostTemplate("{name}-{aws_account}.acme.example"),
        ),
        (
            HOST_TEMPLATE,
            "'{name}--{aws_zone}--x.s3-{aws_zone}.acme.example'",
            HostTemplate("{name}--{aws_zone}--x.s3-{aws_zone}.acme.example"),
        ),
        (PATH_TEMPLATE, "/", PathTemplate("/")),
        (PATH_TEMPLATE, "/{org}/{name}.git/{rest+}", PathTemplate("/{org}/{name}.git/{rest+}")),
        (PATH_TEMPLATE, "/v2/{repo+}/tags/list", PathTemplate("/v2/{repo+}/tags/list")),
        (PATH_TEMPLATE, "/x{rest+}", PathTemplate("/x{rest+}")),
        (BLOB_HOST, "cdn*.acme.example", Glob("cdn*.acme.example")),
        (BLOB_HOST, "'*.acme.example'", Glob("*.acme.example")),
        (PLACEHOLDER_VALUE, "plain", "plain"),
        (PLACEHOLDER_VALUE, "'a-{hex:1}{alnum:40}-{upper:99}'", "a-{hex:1}{alnum:40}-{upper:99}"),
        (BASE_PATH, "/v1", "/v1"),
        (BASE_PATH, "/api/v1.0/a~b_c-d", "/api/v1.0/a~b_c-d"),
        (BASE_PATH, "/..a/.b", "/..a/.b"),
    ],
)
def test_reads_a_template(shape: Text, text: str, value: object) -> None:
    assert read_shape(shape, text) == (value, [])


@pytest.mark.parametrize(
    ("shape", "text", "code", "message", "fix"),
    [
        (
            HOST_TEMPLATE,
            "'{a}.{a}.acme.example'",
            "bad_value",
            "captures the same name twice",
            "its own name",
        ),
        (
            HOST_TEMPLATE,
            "'{a+}.x.{b+}.acme.example'",
            "bad_value",
            "two captures of several labels",
            "use `+` once",
        ),
        (
            HOST_TEMPLATE,
            "'{a}-{b}.acme.example'",
            "bad_value",
            "captures twice in one label",
            "one part of it",
        ),
        (
            HOST_TEMPLATE,
            "'{a}-{b}-{aws_zone}.acme.example'",
            "bad_value",
            "captures twice in one label",
            "one part of it",
        ),
        (
            PATH_TEMPLATE,
            "'/{aws_zone}/{aws_zone}'",
            "bad_value",
            "captures the same name twice",
            "its own name",
        ),
        (
            HOST_TEMPLATE,
            "'x-{a+}.acme.example'",
            "bad_value",
            "must be whole labels",
            "`{name+}` for several",
        ),
        (
            HOST_TEMPLATE,
            "'*.acme.example'",
            "host_malformed",
            "is not a host template",
            "`{name}` stands for a label",
        ),
        (HOST_TEMPLATE, "'{A}.acme.example'", "host_malformed", "is not a host template", "lower-case host"),
        (HOST_TEMPLATE, "API.acme.example/x", "host_malformed", "is not a host template", "lower-case host"),
        (HOST_TEMPLATE, "10.0.0.1", "host_malformed", "is not a host template", "lower-case host"),
        (PATH_TEMPLATE, "x", "bad_value", "`x` is not a path template", "write a path"),
        (PATH_TEMPLATE, "/a b", "bad_value", "is not a path template", "write a path"),
        (PATH_TEMPLATE, "'/{A}'", "bad_value", "is not a path template", "`{name}` for a segment"),
        (PATH_TEMPLATE, "/%7E", "bad_value", "is not a path template", "`{name}` for a segment"),
        (PATH_TEMPLATE, "'/{a}/{a}'", "bad_value", "captures the same name twice", "its own name"),
        (PATH_TEMPLATE, "'/{a}-{b}'", "bad_value", "captures twice in one segment", "one part of it"),
        (
            PATH_TEMPLATE,
            "'/{a+}/{b+}'",
            "bad_value",
            "has two captures of several segments",
            "use `+` once",
        ),
        (
            PATH_TEMPLATE,
            "'/v2/x{a+}/b'",
            "bad_value",
            "`{…+}` must be whole segments, or stand at the end",
            "once for several",
        ),
        (BLOB_HOST, "cdn", "bad_value", "`cdn` is not a host", "such as `cdn.example.com`"),
        (BLOB_HOST, "'*.com'", "bad_value", "`*.com` is not a host", "`*` within a label"),
        (BLOB_HOST, "'*'", "bad_value", "`*` is not a host", "`*` within a label"),
        (BLOB_HOST, "'a*b*c*d*e*f.acme.example'", "bad_value", "is not a host", "`*` within a label"),
        (PLACEHOLDER_VALUE, "'{hex:0}'", "bad_value", "holds an unknown placeholder", "N from 1 to 99"),
        (PLACEHOLDER_VALUE, "'{hex:100}'", "bad_value", "holds an unknown placeholder", "N from 1 to 99"),
        (
            PLACEHOLDER_VALUE,
            "'{digits:4}'",
            "bad_value",
            "holds an unknown placeholder",
            "{hex:N}, {alnum:N}",
        ),
        (PLACEHOLDER_VALUE, "'a}'", "bad_value", "holds an unknown placeholder", "{upper:N}"),
        *(
            (BASE_PATH, f"'{path}'", "bad_value", f"`{path}` is not the path of a base URL", "like `/v1`")
            for path in ("/", "v1", "/v1/", "//v1", "/a//b", "/a/../b", "/.", "/a b", "/a?b", "/%41", "/é")
        ),
    ],
)
def test_refuses_a_template(shape: Text, text: str, code: str, message: str, fix: str) -> None:
    _, (problem,) = read_shape(shape, text)
    assert problem.code.value == code
    assert message in problem.message
    assert fix in problem.fix


def test_finds_what_is_drawn() -> None:
    assert DRAWN.findall("a-{hex:40}{upper:1}{hex:x}") == [("hex", "40"), ("upper", "1")]


@given(text=st.text("{}+ab._-*AZ/é", max_size=25))
def test_fuzz_any_text_is_a_template_or_a_fault(text: str) -> None:
    shapes = (PATH_TEMPLATE, BLOB_HOST, PLACEHOLDER_VALUE, BASE_PATH)
    for parse in (parse_host_template, *(shape.parse for shape in shapes)):
        assert parse is not None
        try:
            outcome = parse(text)
        except Fault as fault:
            outcome = fault
        if isinstance(outcome, HostTemplate):
            filled = parse_hostname(outcome.filled({}))
            assert filled is not None
            assert outcome.compiled().fullmatch(filled)
        elif isinstance(outcome, Fault):
            assert outcome.message
            assert outcome.fix
        else:
            assert outcome in {PathTemplate(text), Glob(text), text}
