"""One suite for both lanes of HTTP/1.1: each script of tests/conformance, by each lane, in the real sidecar.

What both have to agree on: verdicts, edits, bytes, how connections end, audit records, counters. What is not
compared, because the RFCs leave it to each hop: where chunks are cut (RFC 9112 §7.1), order and letters of
framing and connection fields (RFC 9110 §5.3), reason phrases (RFC 9112 §4), Date. Beside that, what mitmproxy
cannot know: why an answer could not be read, and that it should write its own version (RFC 9110 §2.5).
"""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from proxy.core.arrival import LaneName
from tests.conformance.scripts import SCRIPTS
from tests.conformance.stage import SETTING, Stage, Transcript, stage
from tests.conformance.words import Script
from tests.netns import MISSING

LANES = (LaneName.MITMPROXY, LaneName.FAST)
COMPARED = [script for script in SCRIPTS if not script.faults]


class Theatre:
    """A stage for each lane, and what was played there: each script once."""

    def __init__(self) -> None:
        self._last = ExitStack()
        self.stages: dict[LaneName, Stage] = {}
        self.played: dict[tuple[LaneName, str], Transcript] = {}
        self._failed: dict[tuple[LaneName, str], AssertionError] = {}

    def stage(self, lane: LaneName) -> Stage:
        if lane not in self.stages:
            one = stage(lane, SCRIPTS, fast_lane=SETTING[lane])
            self.stages[lane] = self._last.enter_context(one)
        return self.stages[lane]

    def play(self, lane: LaneName, script: Script) -> Transcript:
        key = lane, script.name
        if key not in self.played:
            if key in self._failed:
                raise AssertionError(f"{lane.value} does not play it") from self._failed[key]
            try:
                self.played[key] = self.stage(lane).play(script)
            except AssertionError as error:
                self._failed[key] = error
                raise
        return self.played[key]

    def close(self) -> None:
        self._last.close()


@pytest.fixture(scope="module")
def theatre() -> Iterator[Theatre]:
    if MISSING:
        pytest.skip(MISSING)
    one = Theatre()
    try:
        yield one
    finally:
        one.close()


def test_each_script_has_a_name_of_its_own() -> None:
    labels = [script.label for script in SCRIPTS]
    assert len({*labels}) == len(labels)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
@pytest.mark.parametrize("lane", LANES, ids=lambda lane: lane.value)
def test_a_script_is_played_as_it_is_written(theatre: Theatre, lane: LaneName, script: Script) -> None:
    fault = script.faults.get(lane)
    if fault is None:
        assert theatre.play(lane, script)
        return
    # Who mends it takes its note out of the script.
    with pytest.raises(AssertionError):
        theatre.play(lane, script)
    pytest.xfail(fault)


@pytest.mark.parametrize("script", COMPARED, ids=lambda script: script.name)
def test_both_lanes_give_the_same_verdicts_edits_and_bytes(theatre: Theatre, script: Script) -> None:
    first, second = (theatre.play(lane, script) for lane in LANES)
    assert first == second
