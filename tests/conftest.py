"""What every test gets: a quiet, repeatable hypothesis, and the catalogue that podkey ships."""

import os

import pytest
from hypothesis import HealthCheck, settings

from proxy.core.services import Catalogue
from proxy.services.loader import built_in_catalogue

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
