"""What every test gets: a quiet, repeatable hypothesis, the catalogue that podkey ships, and a canary."""

import os
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from proxy.core.services import Catalogue
from proxy.services.loader import built_in_catalogue
from tests.canary import SHARED, Canary

# Derandomised, so that CI fails on what changed and not by chance; `make fuzz` looks for new inputs.
settings.register_profile(
    "default",
    derandomize=True,
    deadline=None,  # no test asserts a time
    max_examples=30,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)
settings.register_profile("fuzz", settings.get_profile("default"), derandomize=False, max_examples=3000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return built_in_catalogue()


# --- no test leaks a secret ----------------------------------------------------------------------

CANARY = pytest.StashKey[Canary]()


@pytest.fixture(autouse=True)
def canary(request: pytest.FixtureRequest) -> Iterator[Canary]:
    """The secrets of this test: whatever it made, printed, logged and watched is searched for them."""
    made = Canary()
    request.node.stash[CANARY] = made
    yield made
    made.findings()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    own = item.stash.get(CANARY, None)
    canaries = SHARED if own is None else [own, *SHARED]
    found: dict[str, None] = {}
    for one in canaries:
        for title, text in report.sections:
            one.search(text, title)
        found |= dict.fromkeys(one.take_findings())
    if found:
        report.sections = [(title, _blotted(text, canaries)) for title, text in report.sections]
        report.outcome = "failed"
        earlier = f"{_blotted(report.longreprtext, canaries)}\n\n" if report.longrepr else ""
        report.longrepr = earlier + "\n".join(["A secret stands where it must not:", *found])
    return report


def _blotted(text: str, canaries: list[Canary]) -> str:
    for canary in canaries:
        text = canary.blot(text)
    return text
