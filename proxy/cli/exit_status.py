"""What an exit status means, the same for every command."""

from typing import Final

OK: Final = 0
PROBLEMS: Final = 1
REFUSED: Final = 2
USAGE: Final = 64  # EX_USAGE of sysexits.h: 1 and 2 are taken
UNWRITABLE: Final = 74  # EX_IOERR: a full disk must not look like a problem in a policy
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells say it


class MisusedError(Exception):
    """The arguments parse one by one and make no sense together, or name what does not exist."""
