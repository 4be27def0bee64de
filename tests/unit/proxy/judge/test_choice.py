"""Which of many grants are asked: few, and never one too few."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.credentials import Bearer
from proxy.core.globs import Glob
from proxy.core.paths import PathPattern
from proxy.core.policy import AccessPolicy, Grant, WorkloadSelector
from proxy.core.request import RequestFacts
from proxy.judge.choice import FEW_GRANTS, MAX_TOLD_SEGMENTS, choice
from proxy.judge.grants import BoundGrant
from proxy.judge.reading import NOTHING, Reading
from tests.judge_world import NOON, ask

MANY = 3 * FEW_GRANTS


def bound(grants: Sequence[Grant]) -> tuple[BoundGrant, ...]:
    one = AccessPolicy("ml", "p", WorkloadSelector(("*",)), tuple(grants))
    return tuple(BoundGrant(one, number, Bearer(), None, None) for number in range(len(grants)))


def on_path(*paths: str) -> Grant:
    return Grant("a", paths=tuple(map(PathPattern, paths)))


def with_bucket(*globs: str, paths: tuple[str, ...] = (), actions: tuple[str, ...] = ()) -> Grant:
    pins = (("bucket", tuple(map(Glob, globs))),)
    return Grant("a", pins=pins, paths=tuple(map(PathPattern, paths)), actions=actions)


def chosen(grants: Sequence[Grant], path: str, **pins: str) -> list[int]:
    """The numbers of the grants that are asked about a request with this path and these pins."""
    request = ask(f"GET https://api.example.com{path}")
    return sorted({grant.rule.grant for grant in choice(bound(grants))(request, Reading(pins))})


def test_few_grants_are_all_asked() -> None:
    grants = [on_path(f"/team-{number}/**") for number in range(FEW_GRANTS)]

    assert chosen(grants, "/nobody") == list(range(FEW_GRANTS))


TEAMS = [on_path(f"/team-{number}/**") for number in range(MANY)]
MIXED = [
    *TEAMS,
    on_path("/**"),
    on_path("/team-1/x", "/team-2/*"),
    on_path("/team-1/x/y"),
    Grant("a"),
    on_path("/", "//z"),
]


@pytest.mark.parametrize(
    ("grants", "path", "expected"),
    [
        (TEAMS, "/team-3/x", [3]),
        (TEAMS, "/team-3", [3]),
        (TEAMS, "/team-3x", []),
        (TEAMS, "/", []),
        (TEAMS, "//team-3", []),
        (MIXED, "/team-3/x", [3, MANY, MANY + 3]),
        (MIXED, "/team-1/x", [1, MANY, MANY + 1, MANY + 3]),
        (MIXED, "/team-1/x/y", [1, MANY, MANY + 1, MANY + 2, MANY + 3]),
        (MIXED, "/team-2/x/y", [2, MANY, MANY + 1, MANY + 3]),
        (MIXED, "/", [MANY, MANY + 3, MANY + 4]),
        (MIXED, "//z", [MANY, MANY + 3, MANY + 4]),
        (MIXED, "/nobody", [MANY, MANY + 3]),
    ],
)
def test_paths_are_told_by_their_plain_beginnings(
    grants: Sequence[Grant], path: str, expected: list[int]
) -> None:
    assert chosen(grants, path) == expected


def test_a_grant_with_two_paths_in_one_place_is_asked_once() -> None:
    grants = bound([*TEAMS, on_path("/team-1/*/a", "/team-1/*/b")])

    asked = choice(grants)(ask("GET https://api.example.com/team-1/x/a"), NOTHING)

    assert asked == (grants[1], grants[MANY])


def test_paths_are_told_by_so_many_segments_and_no_more() -> None:
    stem = "/s" * (MAX_TOLD_SEGMENTS - 1)
    grants = [on_path(f"{stem}/{number % 2}/deep/{number}") for number in range(MANY)]

    assert chosen(grants, f"{stem}/1/deep/1") == list(range(1, MANY, 2))
    assert chosen(grants, f"{stem}/1") == list(range(1, MANY, 2))
    assert chosen(grants, f"{stem}/1/other/and/very/deep") == list(range(1, MANY, 2))
    assert chosen(grants, stem) == []


BUCKETS = [with_bucket(f"bucket-{number}", "shared") for number in range(MANY)]
OPEN_BUCKETS = [
    *BUCKETS,
    with_bucket("bucket-*"),
    with_bucket("bucket-3", actions=("s3:ListAllMyBuckets",)),
    Grant("a"),
    Grant("a", pins=(("region", (Glob("eu"),)),)),
]


@pytest.mark.parametrize(
    ("grants", "bucket", "expected"),
    [
        (BUCKETS, "bucket-3", [3]),
        (BUCKETS, "shared", list(range(MANY))),
        (BUCKETS, "bucket", []),
        (BUCKETS, "", []),
        (OPEN_BUCKETS, "bucket-3", [3, *range(MANY, MANY + 4)]),
        (OPEN_BUCKETS, "other", list(range(MANY, MANY + 4))),
    ],
)
def test_pins_are_told_by_their_plain_values(
    grants: Sequence[Grant], bucket: str, expected: list[int]
) -> None:
    assert chosen(grants, "/x", bucket=bucket) == expected


def test_a_request_that_shows_no_pin_is_asked_of_the_grants_that_are_open_to_it() -> None:
    assert chosen(OPEN_BUCKETS, "/x") == list(range(MANY, MANY + 4))


def test_grants_of_one_bucket_are_told_by_path() -> None:
    grants = [with_bucket("data", paths=(f"/data/{number}/**",)) for number in range(MANY)]

    assert chosen(grants, "/data/5/x", bucket="data") == [5]
    assert chosen(grants, "/data/5/x", bucket="other") == []


def test_a_pin_that_few_grants_name_does_not_tell_them_apart() -> None:
    grants = [*TEAMS, *BUCKETS[: MANY - 1]]

    assert chosen(grants, "/team-4", bucket="bucket-0") == [4, *range(MANY, 2 * MANY - 1)]


def test_of_two_pins_the_one_that_more_grants_name_plainly_tells() -> None:
    both = [
        Grant("a", pins=(("bucket", (Glob(f"b{number}"),)), ("region", (Glob("eu-*"),))))
        for number in range(MANY)
    ]

    assert chosen(both, "/x", bucket="b7", region="eu-1") == [7]


segments = st.sampled_from(("", "a", "b", "v1", "*", "a*", "**"))
path_patterns = st.lists(segments, min_size=1, max_size=9).map(lambda parts: "/" + "/".join(parts))
request_paths = st.lists(st.sampled_from(("", "a", "b", "v1", "ab")), min_size=1, max_size=9).map(
    lambda parts: "/" + "/".join(parts)
)
some_pins = st.lists(
    st.tuples(
        st.sampled_from(("bucket", "region")),
        st.lists(st.sampled_from(("a", "b", "a*")).map(Glob), min_size=1, max_size=2).map(tuple),
    ),
    max_size=2,
    unique_by=lambda pin: pin[0],
).map(tuple)
grants_of_all_kinds = st.builds(
    Grant,
    credential=st.just("a"),
    paths=st.lists(path_patterns.map(PathPattern), max_size=2).map(tuple),
    pins=some_pins,
)


@given(
    st.lists(grants_of_all_kinds, max_size=MANY),
    st.lists(request_paths, min_size=1, max_size=10),
    st.dictionaries(st.sampled_from(("bucket", "region")), st.sampled_from(("a", "b", "ab", "c"))),
)
def test_property_no_grant_that_covers_the_request_is_left_out(
    grants: list[Grant], paths: list[str], pins: dict[str, str]
) -> None:
    found = bound(grants)
    choose = choice(found)
    for path in paths:
        request = RequestFacts.of(ask("GET https://api.example.com/").host, "GET", path)
        asked = choose(request, Reading(pins))
        covering = [grant for grant in found if grant.miss(request, Reading(pins), (), NOON) is None]

        assert set(covering) <= set(asked) <= set(found)


def test_nothing_is_asked_where_there_is_nothing() -> None:
    assert choice(())(ask("GET https://api.example.com/"), NOTHING) == ()
