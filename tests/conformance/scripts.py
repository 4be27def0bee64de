"""All scripts."""

from typing import Final

from tests.conformance import connections, credentials, faults, framing, refusals
from tests.conformance.words import Script

SCRIPTS: Final[tuple[Script, ...]] = (
    *framing.SCRIPTS,
    *connections.SCRIPTS,
    *refusals.SCRIPTS,
    *faults.SCRIPTS,
    *credentials.SCRIPTS,
)
