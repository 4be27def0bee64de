import pytest
from hypothesis import given
from hypothesis import strategies as st
from publicsuffixlist import PublicSuffixList

from proxy.core.hosts import HostPattern, parse_hostname
from proxy.documents import host_names
from proxy.documents.host_names import (
    display_name,
    is_public_suffix,
    is_unlisted_single_label,
    parse_host_pattern,
    parse_store_host,
    registrable_domain,
    suffix_below,
)
from proxy.documents.problems import Fault


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("api.example.com", "api.example.com"),
        ("API.Example.COM", "api.example.com"),
        ("*.example.com", "*.example.com"),
        ("*.API.example.com", "*.api.example.com"),
        ("my_bucket.example.com", "my_bucket.example.com"),
        ("localhost", "localhost"),
        ("minio.storage.svc.cluster.local", "minio.storage.svc.cluster.local"),
        ("*.svc.cluster.local", "*.svc.cluster.local"),
        ("team.github.io", "team.github.io"),
        # International names come out in one form, in whichever they are written.
        ("münchen.example", "xn--mnchen-3ya.example"),
        ("MÜNCHEN.example", "xn--mnchen-3ya.example"),
        ("*.bücher.example", "*.xn--bcher-kva.example"),
        ("faß.example", "xn--fa-hia.example"),
        ("xn--mnchen-3ya.example", "xn--mnchen-3ya.example"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
    ],
)
def test_a_host_has_one_form(text: str, pattern: str) -> None:
    assert parse_host_pattern(text) == HostPattern(pattern)


@pytest.mark.parametrize(
    ("text", "code", "message", "fix"),
    [
        (
            "https://api.example.com/v1",
            "host_is_url",
            "is a URL, not a host",
            "write only the host: `api.example.com`",
        ),
        (
            "api.example.com/v1",
            "host_is_url",
            "holds a path",
            "`api.example.com` here and the path in `paths`",
        ),
        ("10.0.0.1", "host_is_address", "`10.0.0.1` is an IP address", "certificate proves"),
        ("::1", "host_is_address", "is an IP address", "name the host"),
        ("[2001:db8::1]", "host_is_address", "is an IP address", "name the host"),
        ("fe80::1%eth0", "host_is_address", "is an IP address", "name the host"),
        ("127.1", "host_is_address", "is an IP address", "in any spelling"),
        ("0x7f000001", "host_is_address", "is an IP address", "in any spelling"),
        ("2130706433", "host_is_address", "is an IP address", "in any spelling"),
        ("1.2.3", "host_is_address", "is an IP address", "in any spelling"),
        ("*.0.0.1", "host_is_address", "is an IP address", "in any spelling"),
        ("\uff11\uff12\uff17.0.0.1", "host_is_address", "is an IP address", "in any spelling"),
        (
            "api.example.com:8443",
            "host_has_port",
            "contains a port",
            "`api.example.com` here and the port in `ports: [8443]`",
        ),
        ("api.example.com:", "host_has_port", "contains a port", "`ports: [443]`"),
        ("10.0.0.1:443", "host_has_port", "contains a port", "`10.0.0.1` here"),
        ("*", "host_wildcard", "a bare `*` would match every host", "must not go to every host"),
        ("*.", "host_wildcard", "a bare `*.` would match every host", "must not go to every host"),
        ("**", "host_wildcard", "a bare `**` would match every host", "must not go to every host"),
        ("*.*.example.com", "host_wildcard", "only be the whole first label", "`*.example.com`"),
        ("api.*.example.com", "host_wildcard", "only be the whole first label", "list the hosts"),
        ("api*.example.com", "host_wildcard", "only be the whole first label", "list the hosts"),
        ("**.example.com", "host_wildcard", "only be the whole first label", "list the hosts"),
        ("api.example.com.", "host_malformed", "ends in a dot", "write `api.example.com`"),
        ("api..example.com", "host_malformed", "is not a host name", "joined by single dots"),
        (".example.com", "host_malformed", "is not a host name", "joined by single dots"),
        ("-api.example.com", "host_malformed", "is not a host name", "letters, digits and hyphens"),
        ("api example.com", "host_malformed", "is not a host name", "letters, digits and hyphens"),
        (f"{'a' * 64}.example.com", "host_malformed", "is not a host name", "at most 63 characters"),
        (f"{'a.' * 126}example", "host_malformed", "is not a host name", "at most 63 characters"),
        ("a\u200b\u2060.exa\uffffmple", "host_malformed", "not a valid international name", "`xn--` form"),
        ("ü*.example.com", "host_malformed", "not a valid international name", "`xn--` form"),
        (f"{'ü' * 64}.example", "host_malformed", "not a valid international name", "check the spelling"),
        ("com", "host_public_suffix", "`com` is a public suffix", "`api.your-company.com`"),
        (
            "*.com",
            "host_public_suffix",
            "every name below `com` is open to strangers",
            "`api.your-company.com`",
        ),
        ("*.co.uk", "host_public_suffix", "every name below `co.uk`", "`api.your-company.co.uk`"),
        ("*.github.io", "host_public_suffix", "every name below `github.io`", "or use `service:`"),
        (
            "*.s3.amazonaws.com",
            "host_public_suffix",
            "every name below `s3.amazonaws.com`",
            "or use `service:`",
        ),
        ("*.公司.cn", "host_public_suffix", "is a public suffix", "name the hosts"),
        # The list does not know this top level, and says to take such a name as public.
        ("*.internal", "host_public_suffix", "every name below `internal`", "name the hosts"),
    ],
)
def test_refuses_what_is_no_host_to_be_granted(text: str, code: str, message: str, fix: str) -> None:
    with pytest.raises(Fault) as caught:
        parse_host_pattern(text)
    assert caught.value.code.value == code
    assert message in caught.value.message
    assert fix in caught.value.fix


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("api.example.com", "api.example.com"),
        ("xn--mnchen-3ya.example", "münchen.example (xn--mnchen-3ya.example)"),
        ("*.xn--bcher-kva.example", "*.bücher.example (*.xn--bcher-kva.example)"),
        ("xn--zzzzzzzzzz99.example", "xn--zzzzzzzzzz99.example"),
        ("a.xn--.example", "a.xn--.example"),
    ],
)
def test_international_names_are_shown_in_both_forms(host: str, shown: str) -> None:
    assert display_name(host) == shown


@pytest.mark.parametrize(
    ("name", "public"),
    [("com", True), ("co.uk", True), ("github.io", True), ("example.com", False), ("internal", False)],
)
def test_knows_below_which_names_strangers_can_register(name: str, *, public: bool) -> None:
    assert is_public_suffix(name) is public


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("amazonaws.com", "amazonaws.com"), ("example.com", None), ("xample.com", None), ("azonaws.com", None)],
)
def test_knows_whether_a_public_suffix_lies_below_a_name(name: str, suffix: str | None) -> None:
    found = suffix_below(name)
    if suffix is None:
        assert found is None
    else:
        assert found is not None
        assert found.endswith(f".{suffix}")
        assert is_public_suffix(found)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Store.Example.com", "store.example.com"),
        ("münchen.example", "xn--mnchen-3ya.example"),
        ("minio", "minio"),
        # Public suffixes of companies, below which their customers make buckets.
        ("s3.eu-west-1.amazonaws.com", "s3.eu-west-1.amazonaws.com"),
        ("s3.fr-par.scw.cloud", "s3.fr-par.scw.cloud"),
    ],
)
def test_the_host_of_a_store_may_be_one_below_which_strangers_have_names(text: str, host: str) -> None:
    assert parse_store_host(text) == host


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("com", "host_public_suffix", "`com` is a public suffix, not a store"),
        ("foo.ck", "host_public_suffix", "`foo.ck` is a public suffix"),
        ("*.example.com", "host_wildcard", "`*.example.com` is not one host"),
        ("example.com.", "host_malformed", "ends in a dot"),
        ("10.0.0.1", "host_is_address", "is an IP address"),
        ("127.1", "host_is_address", "is an IP address"),
        ("", "host_malformed", "is not a host name"),
    ],
)
def test_refuses_what_is_no_host_of_a_store(text: str, code: str, message: str) -> None:
    with pytest.raises(Fault) as caught:
        parse_store_host(text)
    assert caught.value.code.value == code
    assert message in caught.value.message


def test_knows_a_single_label() -> None:
    assert is_unlisted_single_label("internal")
    assert not is_unlisted_single_label("corp.internal")


def listed_names() -> set[str]:
    """Of each rule its name, three below it, and the one that it is below."""
    rules = PublicSuffixList(accept_unknown=False)._publicsuffix
    bare = {rule.lstrip("!").removeprefix("*.") for rule in rules if rule.isascii()}
    return {
        name
        for rule in bare
        for name in (rule, f"a.{rule}", f"b.a.{rule}", f"c.b.a.{rule}", rule.partition(".")[2])
    }


@pytest.mark.parametrize("is_icann", [False, True])
def test_the_list_says_what_its_library_reads_in_it(*, is_icann: bool) -> None:
    library = PublicSuffixList(accept_unknown=False, only_icann=is_icann)
    ours = host_names._registries() if is_icann else host_names._listed_suffixes()
    names = listed_names()

    differing = [n for n in names if (ours.suffix_of(n) == n) != bool(library.is_public(n))]

    assert len(names) > 20_000
    assert differing == []


def test_who_registered_a_name_is_what_the_library_says() -> None:
    library = PublicSuffixList(accept_unknown=False)
    listed = [name for name in listed_names() - {""} if library.publicsuffix(name)]

    assert [n for n in listed if registrable_domain(n) != library.privatesuffix(n)] == []
    assert registrable_domain("a.b.unlisted") == "b.unlisted"


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.b.xn--czr694b", "xn--czr694b"),
        ("www.xn--czr694b", "xn--czr694b"),
        ("a.xn--fiqs8s", "a.xn--fiqs8s"),
        ("xn--fiqs8s", "xn--fiqs8s"),
        ("xn--unlisted-n4a", None),
    ],
)
def test_rules_for_international_names_hold_in_their_other_form(name: str, suffix: str | None) -> None:
    rules = "// a note: ö\n\n商标\n!www.商标\n*.中国\n"
    assert host_names._Suffixes(rules.encode()).suffix_of(name) == suffix


def check_total(text: str) -> None:
    try:
        pattern = parse_host_pattern(text)
    except Fault as fault:
        outcome: HostPattern | Fault = fault
    else:
        outcome = pattern
    if isinstance(outcome, Fault):
        assert outcome.code.value.startswith("host_")
        assert outcome.message
        assert outcome.fix
    else:
        assert parse_hostname(outcome.suffix) == outcome.suffix
        assert parse_host_pattern(outcome.text) == outcome
        assert outcome.text in display_name(outcome.text)


@given(text=st.text(max_size=20))
def test_fuzz_any_text_is_a_host_in_normal_form_or_a_fault(text: str) -> None:
    check_total(text)


@given(
    text=st.text("abz09-_.*:/[]%@ üßıſ。\uff0e\uff0a\uff1a\uff0f\uff11\u0661xn\u200d\u00ad\x00", max_size=30)
)
def test_fuzz_characters_that_hosts_trip_over_are_a_host_or_a_fault(text: str) -> None:
    check_total(text)


@pytest.mark.parametrize(
    "text", ["https://münchen.example:8443/v1", "*.api.example.com", "[2001:db8::1%eth0]:443"]
)
def test_fuzz_every_prefix_of_a_host_is_a_host_or_a_fault(text: str) -> None:
    for end in range(len(text)):
        check_total(text[:end])


def test_the_list_is_read_again_when_it_was_forgotten() -> None:
    assert host_names.is_public_suffix("co.uk")
    host_names.forget_suffixes()
    assert host_names._list.cache_info().currsize == 0
    assert host_names.is_public_suffix("co.uk")
