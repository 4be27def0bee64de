import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.paths import MAX_PATH_LENGTH, PathPattern, RequestPath, folded, has_dot_segments
from proxy.core.reasons import Reason
from tests.core_reference import (
    PATHS,
    PATTERNS,
    RAW_PATHS,
    every_path,
    mutated,
    path_fits,
    remove_dot_segments,
    server_readings,
)

SAMPLES = (
    "/v1/chat/completions",
    "/my-bucket/datasets/imagenet/%E2%82%AC%20file.tar",
    "/bigscience/bloom/resolve/main/model-00001-of-00072.safetensors",
    "/a/b/c/./../../g%7e;v=1",
)


# --- the normal form -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/models",
        "/V1/Models",  # case is kept: S3 keys differ by it
        "/a//b",  # so are empty segments
        "//",
        "//a",
        "/a/",
        "/a/b.c/.git/...",
        "/..a/a../.../-_~",
        "/a;v=1/b,c",
        "/:@!$&'()*+,;=",
        "/%20%C3%A9",
        "/%2B%3A%40",
        "/100%25",
        "/%2541",  # decoding it once more would be a second reading, but not one with another meaning
        "/a" * (MAX_PATH_LENGTH // 2),
    ],
)
def test_a_path_in_normal_form_stays_as_it_is(path: str) -> None:
    assert RequestPath.parse(path) == RequestPath(path)


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        ("/%41%7a%30%2D%5f%7E%2ejson", "/Az0-_~.json"),
        ("/%c3%a9", "/%C3%A9"),
        ("/a%2bb%3d", "/a%2Bb%3D"),
        ("/%2E%2e.", "/..."),
        ("/a//%62", "/a//b"),
    ],
)
def test_unreserved_characters_are_decoded_and_other_escapes_are_upper_case(raw: str, normal: str) -> None:
    assert RequestPath.parse(raw) == RequestPath(normal)


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        ("/a/b/c/./../../g", "/a/g"),  # the two examples of RFC 3986 §5.2.4
        ("/mid/content=5/../6", "/mid/6"),
        ("/.", "/"),
        ("/./", "/"),
        ("/./a", "/a"),
        ("/a/.", "/a/"),
        ("/a/..", "/"),
        ("/a/../", "/"),
        ("/a/b/..", "/a/"),
        ("/a/b/../", "/a/"),
        ("/a/../b/../c", "/c"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/.%2e/b/%2e", "/b/"),
        ("/a/./b%20c", "/a/b%20c"),
    ],
)
def test_dot_segments_are_removed_and_it_is_remembered(raw: str, normal: str) -> None:
    assert RequestPath.parse(raw) == RequestPath(normal, had_dot_segments=True)


# --- what has no normal form -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        *["/..", "/../a", "/a/../..", "/a/../../b", "/%2e%2e/a", "/./..", "/a/./../.."],  # above the root
        *["/a//../b", "//..", "/a/..//b", "/./a//b", "//./", "/a/..//"],  # beside an empty segment
        *["/a%2Fb", "/a%2fb", "/%2f", "/..%2f"],  # a separator to some
        *["/a%5Cb", "/a%5cb", "/a\\b", "\\", "/..\\a", "/é\\"],
        *["/a%252Fb", "/a%252fb", "/%25252F", "/a%255Cb", "/%252%46", "/%25%32f"],  # one decoding later
        *["/%252e%252e/", "/%252E", "/%25252e", "/%2500", "/%250A", "/%257f", "/%25%32e"],
        *["/..;/a", "/a/..;x/b", "/a/.;", "/..;", "/%2e%2e;/a"],  # dots under a path parameter
        *["/a/..%3Bx/b", "/a/..%3bx/b", "/.%3B", "/..%253B/a", "/..%253b/a"],
    ],
)
def test_refuses_a_path_that_two_servers_would_read_differently(raw: str) -> None:
    assert RequestPath.parse(raw) == RequestPath("", Reason.AMBIGUOUS_PATH)


@pytest.mark.parametrize(
    "raw",
    [
        *["", "a", "a/b", "*", "https://example.com/", "?", "."],  # does not begin with a slash
        *["/a b", "/a\tb", "/a\r\nb", "/a\x00", "/\x7f", "/a\n"],
        *["/é", "/\u2024\u2024/", "/\uff0e\uff0e/", "/\ud800"],
        *['/"', "/<a>", "/[a]", "/{a}", "/a|b", "/a^b", "/a`b", "/a?b", "/a#b"],
        *["/%", "/%2", "/%zz", "/%2g", "/a%", "/%%32%65"],
        *["/%00", "/a%0d%0aHost:%20b", "/%1F", "/%7f", "/%7F"],
        "/" + "a" * MAX_PATH_LENGTH,
        "/" + "%41" * MAX_PATH_LENGTH,
    ],
)
def test_refuses_what_is_no_path(raw: str) -> None:
    assert RequestPath.parse(raw) == RequestPath("", Reason.MALFORMED_PATH)


@pytest.mark.parametrize(
    "raw",
    [
        "/a/%C0%AE%C0%AE/b",  # an overlong dot
        "/a/%FF",
        "/public/..%20/admin",
        "/public/.%09/admin".replace("%09", "%20"),
        "/public/..%23/admin",
        "/public/..%EF%BC%8Fadmin",
        "/a/;x/../b",
        "/a/..%253Bx/b",
    ],
)
def test_refuses_what_a_lax_server_would_trim_or_decode_differently(raw: str) -> None:
    assert RequestPath.parse(raw) == RequestPath("", Reason.AMBIGUOUS_PATH)


# --- properties of normalisation -------------------------------------------------------------------------

HOSTILE = st.one_of(
    RAW_PATHS, *(mutated(sample, "/.%25eEfFcC;\\a\x00é ") for sample in SAMPLES), st.sampled_from(SAMPLES)
)


@given(HOSTILE)
def test_property_parse_answers_a_text_or_a_fault_and_never_both(raw: str) -> None:
    path = RequestPath.parse(raw)
    if path.fault is None:
        assert path.text.startswith("/")
    else:
        assert path.fault in {Reason.MALFORMED_PATH, Reason.AMBIGUOUS_PATH}
        assert path == RequestPath("", path.fault)


@given(HOSTILE)
def test_property_normalising_twice_changes_nothing(raw: str) -> None:
    path = RequestPath.parse(raw)
    if path.fault is None:
        assert RequestPath.parse(path.text) == RequestPath(path.text)


@given(HOSTILE)
def test_property_normalising_keeps_the_meaning_of_rfc_3986(raw: str) -> None:
    path = RequestPath.parse(raw)
    if path.fault is None:
        # An accepted path holds no escaped slash, so it can be decoded before its dots are resolved.
        meaning = unquote_to_bytes(raw).decode("latin-1")
        expected = remove_dot_segments(meaning) if path.had_dot_segments else meaning
        assert unquote_to_bytes(path.text).decode("latin-1") == expected
        assert path.had_dot_segments == (remove_dot_segments(meaning) != meaning)


@given(HOSTILE)
def test_property_no_server_finds_a_dot_segment_or_a_new_slash_in_an_accepted_path(raw: str) -> None:
    path = RequestPath.parse(raw)
    if path.fault is None:
        for reading in server_readings(path.text):
            assert {".", ".."}.isdisjoint(reading.split("/")), reading
            assert reading.count("/") <= path.text.count("/"), reading
            assert "\\" not in reading
            assert "\x00" not in reading


def is_utf8(path: str) -> bool:
    try:
        unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize("sample", SAMPLES)
def test_fuzz_every_beginning_of_a_real_path_has_a_normal_form_or_a_fault(sample: str) -> None:
    cut_escape = re.compile(r".*%[0-9A-F]?", re.IGNORECASE | re.DOTALL).fullmatch
    for end in range(1, len(sample) + 1):
        path = RequestPath.parse(sample[:end])
        if cut_escape(sample[:end]):
            assert path.fault is Reason.MALFORMED_PATH
        else:  # a character of several bytes may be cut in its middle
            assert path.fault is (None if is_utf8(sample[:end]) else Reason.AMBIGUOUS_PATH)


# --- other readings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/api/token",
        "/API/Token",
        "/api/token/",
        "/api//token",
        "//api/token//",
        "/api;v=1/token;x",
        "/api/;x/token",
        "/;/api/;;a/token/;",
        "/api/token%20",
        "/api/token.",
        "/api/ ./token".replace(" ", "%20"),
        "/api/token%3Fx=1",
        "/api/token%23x",
        "/api/%2574oken",
        "/API//Token;v=1/",
        "/api/token%3Bx",
        "/%3Bx/api/token",
    ],
)
def test_the_widest_reading_sees_through_every_disguise(path: str) -> None:
    assert folded(path) == "/api/token"


@pytest.mark.parametrize(
    ("path", "widest"),
    [
        ("/", "/"),
        ("//", "/"),
        ("/;x", "/"),
        ("/a%20B", "/a b"),
        ("/%FF", "/\ufffd"),
        ("/%C3%89", "/é"),
        ("/a.b", "/a.b"),
    ],
)
def test_the_widest_reading_of_other_paths(path: str, widest: str) -> None:
    assert folded(path) == widest


DISGUISES = st.sampled_from(("/", "//", "/;x/", "/;a=b/;c/", "/%3Bx/"))
SEGMENTS = st.lists(st.text("abz", min_size=1, max_size=3), min_size=1, max_size=4)


@given(SEGMENTS, st.data())
def test_property_a_disguised_path_folds_to_the_plain_one(segments: list[str], data: st.DataObject) -> None:
    disguised = ""
    for segment in segments:
        letters = [data.draw(st.sampled_from((c, c.upper(), f"%{ord(c):02x}"))) for c in segment]
        tail = data.draw(st.sampled_from(("", ";", ";v=1", "%3bx")))
        disguised += data.draw(DISGUISES) + "".join(letters) + tail
    disguised += data.draw(st.sampled_from(("", "/", "//", ";", "/;x")))
    path = RequestPath.parse(disguised)
    assert path.fault is None
    assert folded(path.text) == "/" + "/".join(segments)


# --- patterns --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "fitting", "unfitting"),
    [
        ("/", ["/"], ["", "//", "/a"]),
        ("/v1/models", ["/v1/models"], ["/v1/models/", "/v1/Models", "/v1/model", "/x/v1/models"]),
        ("/v1/*", ["/v1/a", "/v1/..."], ["/v1", "/v1/", "/v1/a/", "/v1/a/b", "/v1//"]),
        ("/v1/*/x", ["/v1/a/x"], ["/v1/x", "/v1//x", "/v1/a/b/x"]),
        ("/v1/a*b", ["/v1/ab", "/v1/a-b"], ["/v1/a/b", "/v1/a", "/v1/abc"]),
        ("/v1/*.bin", ["/v1/.bin", "/v1/a.bin"], ["/v1/a-bin", "/v1/a/b.bin"]),
        ("/v1/**", ["/v1", "/v1/", "/v1/a", "/v1/a//b"], ["/v10", "/", "/v"]),
        ("/**", ["/", "/a", "//", "/a/b/"], ["a"]),
        ("/**/b", ["/b", "/a/b", "/b/b", "//b"], ["/ab", "/b/", "/b/a"]),
        ("/a/**/b", ["/a/b", "/a/x/y/b", "/a/b/b"], ["/a", "/ab", "/a/bb", "/a/b/c"]),
        ("/a/**/b/**", ["/a/b", "/a/b/", "/a/x/b/y/z"], ["/a", "/a/bc", "/a/x/cb/y"]),
        ("/**/a/**/b/**/c", ["/a/b/c", "/x/a/x/b/x/c", "/a/a/b/b/c"], ["/a/c/b", "/b/a/c", "/a/b/c/d"]),
        ("/**/a*/b/**", ["/ax/b", "/a/a/b", "/ab/a/b/c"], ["/a/c/b", "/a/bb"]),
        ("/**/**/a", ["/a", "/b/a"], ["/b"]),
        ("/a%20b", ["/a%20b"], ["/a b"]),
        ("/a.b+c", ["/a.b+c"], ["/axb+c", "/a.bbc"]),
    ],
)
def test_a_star_is_within_a_segment_and_two_are_any_number_of_them(
    pattern: str, fitting: list[str], unfitting: list[str]
) -> None:
    fits = re.compile(PathPattern(pattern).expression).fullmatch
    assert [path for path in [*fitting, *unfitting] if fits(path)] == fitting


@given(PATTERNS, PATHS)
def test_property_the_expression_of_a_pattern_agrees_with_the_slow_reading(pattern: str, path: str) -> None:
    assert bool(re.fullmatch(PathPattern(pattern).expression, path)) == path_fits(pattern, path)


@pytest.mark.parametrize(
    ("left", "right", "both"),
    [
        ("/v1/models", "/v1/models", "/v1/models"),
        ("/v1/models", "/v1/files", None),
        ("/v1/*", "/*/files", "/v1/files"),
        ("/v1/**", "/**/files", "/v1/files"),
        ("/v1/*", "/v1", None),
        ("/v1/*", "/v1/", None),
        ("/v1/**", "/v1/", "/v1/"),
        ("/v1/a*", "/v1/*b", "/v1/ab"),
        ("/a/**", "/b/**", None),
        ("/**/a/**", "/**/b/**", "/a/b"),
    ],
)
def test_two_patterns_meet_in_a_path_that_both_match(left: str, right: str, both: str | None) -> None:
    found = PathPattern(left).common(PathPattern(right))
    assert (found is None) == (both is None)
    if found is not None:
        assert both is not None
        assert [path_fits(pattern, path) for pattern in (left, right) for path in (found, both)] == [True] * 4


UNIVERSE = every_path(("", "a", "b", "ab", "aab"), 4)


@given(PATTERNS, PATTERNS)
def test_property_a_common_path_is_matched_by_both_patterns(left: str, right: str) -> None:
    both = PathPattern(left).common(PathPattern(right))
    if both is None:
        assert [path for path in UNIVERSE if path_fits(left, path) and path_fits(right, path)] == []
    else:
        assert path_fits(left, both)
        assert path_fits(right, both)


# As in test_globs: with an expression that backtracks these would not end.
@pytest.mark.parametrize(
    "pattern",
    [
        "/**/a*b*a*c/**/*a*b*a*b/**/x",
        "/**/*/*/*/a/**/*/b/**/c",
        "/**/*a*a*a*a/**/*a*a*a*a/**/*a*a*a*a/c",
    ],
)
@pytest.mark.parametrize("unit", ["a", "ab", "/a", "/ab", "/", "/abac", "/aaaaaaaa"])
def test_matching_ends_on_hostile_paths(pattern: str, unit: str) -> None:
    path = ("/" + unit * MAX_PATH_LENGTH)[:MAX_PATH_LENGTH]
    assert re.fullmatch(PathPattern(pattern).expression, path) is None


def test_a_long_path_is_matched_to_its_end() -> None:
    path = "/a" * 4000 + "/b" + "/a" * 90 + "/c"
    fits = re.compile(PathPattern("/**/*/*/*/a/**/*/b/**/c").expression).fullmatch
    assert len(path) <= MAX_PATH_LENGTH
    assert [bool(fits(path)), bool(fits(path + "/")), bool(fits(path[:-2]))] == [True, False, False]


def test_folding_ends_on_hostile_paths() -> None:
    assert folded("/;" * (MAX_PATH_LENGTH // 2)) == "/"
    assert folded("/" * MAX_PATH_LENGTH) == "/"


# --- keys that are no paths --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        "..",
        ".",
        "../a",
        "a/..",
        "a/./b",
        "a/../../b",
        "a//../b",
        "a\\..\\b",
        "a/%2e%2E/b",
        "a%2F..%2fb",
        "a%5c..%5Cb",
        "a/%252e./b",
        "a/..;x/b",
        "a/.. /b",
        "a/..%20/b",
    ],
)
def test_a_key_that_a_file_system_would_take_for_another_one_is_told(key: str) -> None:
    assert has_dot_segments(key)
    assert has_dot_segments(f"{key}/x", is_prefix=True)


@pytest.mark.parametrize(
    "key", ["", "a", "a.b/c..d", ".hidden/x", "...", "a/.../b", "..a/b", "a/b..", "a//b"]
)
def test_dots_that_are_part_of_a_name_are_data(key: str) -> None:
    assert not has_dot_segments(key)
    assert not has_dot_segments(key, is_prefix=True)


def test_a_prefix_may_end_with_the_dot_of_a_hidden_name() -> None:
    assert not has_dot_segments("data/.", is_prefix=True)
    assert has_dot_segments("data/.", is_prefix=False)
    assert has_dot_segments("data/..", is_prefix=True)


def test_looking_for_dot_segments_ends_on_hostile_keys() -> None:
    for unit in ("%25", "/.", "%", "..%", "%252"):
        has_dot_segments(unit * 2000)
        has_dot_segments(unit * 2000, is_prefix=True)
