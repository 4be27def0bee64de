from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.hosts import (
    MAX_HOSTNAME_LENGTH,
    Hostname,
    HostPattern,
    HostTemplate,
    hosts_meet,
    parse_hostname,
)
from tests.core_reference import mutated

LONGEST = ".".join(["a" * 63] * 3 + ["b" * 61])


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("api.example.com", "api.example.com"),
        ("API.Example.COM", "api.example.com"),
        ("localhost", "localhost"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("my_bucket.s3.amazonaws.com", "my_bucket.s3.amazonaws.com"),
        ("_dmarc.example.com", "_dmarc.example.com"),
        ("3com.com", "3com.com"),
        ("1.2.3.4.example.com", "1.2.3.4.example.com"),
        ("1.2.3.4a", "1.2.3.4a"),
        ("0xg.0xyz", "0xg.0xyz"),
        ("a--b.c", "a--b.c"),
        ("a" * 63 + ".com", "a" * 63 + ".com"),
        (LONGEST, LONGEST),
    ],
)
def test_a_host_name_has_one_normal_form(text: str, name: str) -> None:
    assert parse_hostname(text) == name


@pytest.mark.parametrize(
    "text",
    [
        *[
            "1.2.3.4",
            "127.1",
            "0x7f.1",
            "0x7f.0x0.0x0.0x1",
            "0177.1",
            "2130706433",
            "0X7F000001",
            "0x",
            "a.0x",
        ],
        *["example.1", "a.b.0xff", "1"],  # inet_aton and browsers read these as addresses, or fail
        *["::1", "[::1]", "fe80::1%eth0", "1.2.3.4:443", "api.example.com:443"],
        *["", ".", "..", ".com", "a..b", "a.", "api.example.com.", "-a.com", "a-.com", "a.-b", "a.b-"],
        *["a" * 64 + ".com", LONGEST + "b", "a." * 200 + "com"],
        *["bücher.example", "ａ.com", "\u212aelvin.com", "a\u3002com", "a\u00adb.com", "\u0130.com"],
        *["*.example.com", "*", "a b.com", " a.com", "a.com ", "a.com\n", "a\x00.com", "a.com/", "a.com?x"],
        *["https://a.com", "user@a.com", "a%2ecom", "a,b.com", "{bucket}.com"],
    ],
)
def test_what_is_no_host_name_is_none(text: str) -> None:
    assert parse_hostname(text) is None


def test_a_name_may_be_as_long_as_dns_allows_and_no_longer() -> None:
    assert len(LONGEST) == MAX_HOSTNAME_LENGTH == 253


@given(mutated("my_bucket.s3.eu-west-1.amazonaws.com", "aZ09-_.*0x:%[] éK\x00\n") | st.text(max_size=40))
def test_fuzz_a_name_is_in_normal_form_or_it_is_none(text: str) -> None:
    name = parse_hostname(text)
    if name is not None:
        assert name == text.lower()
        assert name.isascii()
        assert parse_hostname(name) == name
        labels = name.split(".")
        assert all(label and len(label) <= 63 and label.strip("-") == label for label in labels)
        assert not labels[-1].isdigit()


@pytest.mark.parametrize(
    ("pattern", "matched", "unmatched"),
    [
        ("example.com", ["example.com"], ["a.example.com", "example.org", "com", "xexample.com"]),
        (
            "*.example.com",
            ["a.example.com", "xn--a.example.com"],
            ["example.com", "a.b.example.com", "aexample.com", "a.example.org", ".example.com", "com"],
        ),
        ("*.a", ["b.a"], ["a", "c.b.a"]),
    ],
)
def test_a_wildcard_is_exactly_one_label(pattern: str, matched: list[str], unmatched: list[str]) -> None:
    hosts = [*matched, *unmatched]
    assert [host for host in hosts if HostPattern(pattern).matches(Hostname(host))] == matched


@pytest.mark.parametrize(
    ("text", "is_wildcard", "suffix"),
    [("api.example.com", False, "api.example.com"), ("*.example.com", True, "example.com")],
)
def test_a_pattern_knows_its_suffix(text: str, *, is_wildcard: bool, suffix: str) -> None:
    pattern = HostPattern(text)
    assert pattern.is_wildcard is is_wildcard
    assert pattern.suffix == suffix


@pytest.mark.parametrize(
    ("left", "right", "both"),
    [
        ("a.com", "a.com", "a.com"),
        ("a.com", "b.com", None),
        ("*.com", "a.com", "a.com"),
        ("*.com", "a.b.com", None),
        ("*.com", "com", None),
        ("*.a.com", "*.a.com", "any.a.com"),
        ("*.a.com", "*.b.com", None),
        ("*.com", "*.a.com", None),
    ],
)
def test_two_patterns_meet_in_a_name_that_both_match(left: str, right: str, both: str | None) -> None:
    assert HostPattern(left).common(HostPattern(right)) == both
    assert HostPattern(right).common(HostPattern(left)) == both


def test_patterns_meet_exactly_where_some_name_is_matched_by_both() -> None:
    names = [Hostname(".".join(n)) for length in (1, 2, 3, 4) for n in product(("a", "b"), repeat=length)]
    patterns = [HostPattern(star + name) for name in names if len(name) < 6 for star in ("", "*.")]
    for left, right in product(patterns, repeat=2):
        both = left.common(right)
        if both is None:
            assert not any(left.matches(name) and right.matches(name) for name in names)
        else:
            assert left.matches(both)
            assert right.matches(both)


S3 = "{bucket+}.s3.{region}.amazonaws.com"


@pytest.mark.parametrize(
    ("template", "host", "captured"),
    [
        (S3, "data.s3.eu-west-1.amazonaws.com", {"bucket": "data", "region": "eu-west-1"}),
        (S3, "my.data.s3.eu-west-1.amazonaws.com", {"bucket": "my.data", "region": "eu-west-1"}),
        (S3, "a.s3.b.s3.c.amazonaws.com", {"bucket": "a.s3.b", "region": "c"}),
        (S3, "s3.eu-west-1.amazonaws.com", None),
        (S3, ".s3.eu-west-1.amazonaws.com", None),
        (S3, "data.s3.eu.west.amazonaws.com", None),
        (S3, "data.s3..amazonaws.com", None),
        (S3, "data.s3.eu-west-1.amazonaws.com.example.com", None),
        (S3, "data-s3.eu-west-1.amazonaws.com", None),
        (S3, "data.s3.eu-west-1xamazonaws.com", None),
        (S3, "data.s3.-eu.amazonaws.com", None),
        ("s3-{region}.amazonaws.com", "s3-eu-west-1.amazonaws.com", {"region": "eu-west-1"}),
        ("s3-{region}.amazonaws.com", "s3-.amazonaws.com", None),
        ("api.openai.com", "api.openai.com", {}),
        ("api.openai.com", "api-openai.com", None),
    ],
)
def test_a_template_captures_labels(template: str, host: str, captured: dict[str, str] | None) -> None:
    match = HostTemplate(template).compiled().fullmatch(host)
    assert (match.groupdict() if match else None) == captured


@pytest.mark.parametrize(
    ("template", "captures", "tail"),
    [
        (S3, {"bucket", "region"}, "amazonaws.com"),
        ("{bucket}.s3.amazonaws.com", {"bucket"}, "s3.amazonaws.com"),
        ("api.openai.com", set(), "api.openai.com"),
        # Whoever owns `com` could own `x-example.com`, `xexample.com` and `x.com`.
        ("{team}-example.com", {"team"}, "com"),
        ("{team}example.com", {"team"}, "com"),
        ("{team}.com", {"team"}, "com"),
        ("example.{top}", {"top"}, ""),
        ("{region}-api.example.com", {"region"}, "example.com"),
    ],
)
def test_the_tail_is_what_the_owner_of_the_names_must_own(
    template: str, captures: set[str], tail: str
) -> None:
    assert HostTemplate(template).captures == captures
    assert HostTemplate(template).tail == tail


def test_a_template_is_filled_with_values_and_else_with_the_names_of_its_captures() -> None:
    filled = HostTemplate(S3).filled({"bucket": "data", "unknown": "x"})
    assert filled == "data.s3.region.amazonaws.com"
    assert HostTemplate(S3).compiled().fullmatch(filled)


@pytest.mark.parametrize(
    ("host", "fits"),
    [
        ("s3-fips.us-east-1.amazonaws.com", True),
        ("s3-fips.us-gov-west-1.amazonaws.com", True),
        ("s3-fips.eusc-de-east-1.amazonaws.com", True),
        # The bucket `s3-fips` at the global endpoint: no region, so not path-style.
        ("s3-fips.s3.amazonaws.com", False),
        ("s3-fips.dualstack.amazonaws.com", False),
        ("s3-fips.us-east.amazonaws.com", False),
        ("s3-fips.us-east-1.evil.amazonaws.com", False),
    ],
)
def test_a_capture_of_a_region_takes_regions_only(host: str, *, fits: bool) -> None:
    template = HostTemplate("s3-fips.{aws_region}.amazonaws.com")
    assert (template.compiled().fullmatch(host) is not None) is fits


ACCESS_POINT = "{name}-{aws_account}.s3-accesspoint.{aws_region}.amazonaws.com"
DIRECTORY = "{name}--{aws_zone}--x-s3.s3express-{aws_zone}.amazonaws.com"


@pytest.mark.parametrize(
    ("template", "host", "captured"),
    [
        (
            ACCESS_POINT,
            "my-ap-111122223333.s3-accesspoint.eu-west-1.amazonaws.com",
            ("my-ap", "111122223333"),
        ),
        (ACCESS_POINT, "1-111122223333.s3-accesspoint.eu-west-1.amazonaws.com", ("1", "111122223333")),
        (ACCESS_POINT, "ap-1-111122223333.s3-accesspoint.eu-west-1.amazonaws.com", ("ap-1", "111122223333")),
        (ACCESS_POINT, "ap-11112222333.s3-accesspoint.eu-west-1.amazonaws.com", None),
        (ACCESS_POINT, "ap111122223333.s3-accesspoint.eu-west-1.amazonaws.com", None),
        (ACCESS_POINT, "ap--111122223333.s3-accesspoint.eu-west-1.amazonaws.com", None),
        (ACCESS_POINT, "-111122223333.s3-accesspoint.eu-west-1.amazonaws.com", None),
        (ACCESS_POINT, "a.ap-111122223333.s3-accesspoint.eu-west-1.amazonaws.com", None),
        (DIRECTORY, "a--use1-az4--x-s3.s3express-use1-az4.amazonaws.com", ("a", "use1-az4")),
        (DIRECTORY, "a--b--use1-az4--x-s3.s3express-use1-az4.amazonaws.com", ("a--b", "use1-az4")),
        (DIRECTORY, "a--usw2-lax1-az1--x-s3.s3express-usw2-lax1-az1.amazonaws.com", ("a", "usw2-lax1-az1")),
        (DIRECTORY, "a-usw2--lax1-az1--x-s3.s3express-lax1-az1.amazonaws.com", ("a-usw2", "lax1-az1")),
        # The zone of the name and that of the host are one.
        (DIRECTORY, "a--use1-az4--x-s3.s3express-use1-az5.amazonaws.com", None),
        (DIRECTORY, "a--use1-az4--x-s3.s3express-use1-az45.amazonaws.com", None),
        (DIRECTORY, "a--control--x-s3.s3express-control.amazonaws.com", None),
        (DIRECTORY, "a--fips-use1-az4--x-s3.s3express-fips-use1-az4.amazonaws.com", None),
        (DIRECTORY, "--use1-az4--x-s3.s3express-use1-az4.amazonaws.com", None),
    ],
)
def test_a_shaped_capture_may_share_a_label_and_stand_twice(
    template: str, host: str, captured: tuple[str, str] | None
) -> None:
    match = HostTemplate(template).compiled().fullmatch(host)
    assert (match.groups()[:2] if match else None) == captured


@pytest.mark.parametrize("template", [ACCESS_POINT, DIRECTORY])
def test_a_template_with_shaped_captures_fits_its_own_sample(template: str) -> None:
    filled = HostTemplate(template).filled({"name": "a"})
    assert parse_hostname(filled) == filled
    assert HostTemplate(template).compiled().fullmatch(filled)


def test_a_sample_of_a_shaped_capture_fits_it() -> None:
    template = HostTemplate("{bucket+}.s3.{aws_region}.amazonaws.com")
    filled = template.filled({"bucket": "a.b"})
    assert filled == "a.b.s3.us-east-1.amazonaws.com"
    assert template.compiled().fullmatch(filled)


@pytest.mark.parametrize(
    ("left", "right", "meet"),
    [
        (HostPattern("api.example.com"), HostPattern("api.example.com"), True),
        (HostPattern("*.example.com"), HostTemplate("{x}.example.com"), True),
        (HostPattern("*.example.com"), HostTemplate("{a}.{b}.example.com"), False),
        (HostPattern("*.amazonaws.com"), HostTemplate("s3.amazonaws.com"), True),
        (HostPattern("*.s3.amazonaws.com"), HostTemplate("{bucket+}.s3.amazonaws.com"), True),
        (HostPattern("a.b.s3.amazonaws.com"), HostTemplate("{bucket+}.s3.amazonaws.com"), True),
        (HostPattern("api.openai.com"), HostTemplate("{x}openai.com"), False),
        (HostTemplate("{x+}.amazonaws.com"), HostTemplate("s3.{aws_region}.amazonaws.com"), True),
        (HostTemplate("cdn-{x}.example.com"), HostTemplate("{y}-1.example.com"), True),
        (HostTemplate("cdn-{x}.example.com"), HostTemplate("api-{y}.example.com"), False),
    ],
)
def test_two_host_patterns_meet_where_a_name_could_fit_both(
    left: HostPattern | HostTemplate, right: HostPattern | HostTemplate, *, meet: bool
) -> None:
    assert hosts_meet(left.label_globs, right.label_globs) is meet
    assert hosts_meet(right.label_globs, left.label_globs) is meet
