"""One world for all whole pods; what was measured is told at the end."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.netns import MISSING as NO_NETNS
from tests.pod_lab import FIGURES, Lab, pod_lab
from tests.podman_pod import what_is_missing
from tests.registry_server import MISSING as NO_REGISTRY
from tests.swift_server import MISSING as NO_SWIFT


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    if missing := NO_NETNS or NO_REGISTRY or NO_SWIFT or what_is_missing():
        pytest.skip(missing)
    with pod_lab() as lab:
        yield lab


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if FIGURES:
        terminalreporter.section("whole pods: measured here, judged nowhere")
        width = max(map(len, FIGURES))
        for name, seconds in FIGURES.items():
            texts = "  ".join(f"{one:.3f}" for one in seconds)
            terminalreporter.write_line(f"{name:<{width}}  {texts} s")
