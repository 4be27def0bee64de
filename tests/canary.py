"""Secrets made for one test, and the search for them wherever they must not be.

    def test_something(canary: Canary) -> None:
        key = canary.secret("openai key")          # random, remembered
        canary.watch(output, "what the app saw")   # text, bytes, a file or a folder

After every test `tests/conftest.py` looks for all its canaries in what the test printed and logged, and in
everything that is watched. A hit fails the test and names the place, never the value. What is read from a
path is read when it is searched; `search` looks at once, for a folder that is about to go.
"""

import secrets
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

# Long enough that no text holds one by chance, in any form.
RANDOM_CHARACTERS: Final = 32
MIN_LENGTH: Final = 24
ALIGNMENTS: Final = 3
# Base64 is written in groups of four; those at the ends also hold bits of what stands beside the secret.
GROUP: Final = 4

Place = bytes | str | Path


class Canary:
    def __init__(self) -> None:
        self._forms: dict[bytes, str] = {}
        self._watched: list[tuple[Place, str]] = []
        self._found: dict[str, None] = {}
        self._told: dict[str, None] = {}

    # --- making ---

    def secret(self, name: str, prefix: str = "") -> str:
        """A new one. It is safe in a header, and looks different in each encoding."""
        half = RANDOM_CHARACTERS // 2
        value = f"{prefix}{secrets.token_hex(half // 2)}+/{secrets.token_hex(half // 2)}~"
        return self.remember(value, name)

    def remember(self, value: str, name: str) -> str:
        """Somebody else's secret is looked for, too: a key that the sidecar made, for one."""
        if len(value) < MIN_LENGTH:
            raise ValueError(f"{name} is too short to be told from other text")
        for form, encoded in forms(value.encode()).items():
            self._forms.setdefault(encoded, f"{name} ({form})")
        return value

    # --- looking ---

    def find_in(self, place: Place) -> list[str]:
        """Which of them are there and in which form; in a folder also in which file."""
        if not self._forms:
            return []
        if isinstance(place, Path):
            return [
                f"{hit} in {path.name}" for path, content in _contents(place) for hit in self.find_in(content)
            ]
        data = place.encode(errors="surrogateescape") if isinstance(place, str) else place
        return [name for form, name in self._forms.items() if form in data]

    def watch(self, place: Place, where: str) -> None:
        self._watched.append((place, where))

    def search(self, place: Place, where: str) -> None:
        """Look now, and remember what was found."""
        for hit in self.find_in(place):
            if (told := f"{hit}: {where}") not in self._told:
                self._found[told] = None

    def findings(self) -> list[str]:
        """Everything that was found in what is watched, each once. Looks again."""
        for place, where in self._watched:
            self.search(place, where)
        return list(self._found)

    def take_findings(self) -> list[str]:
        """The same; what was found is told once, and texts that were searched are let go."""
        found = self.findings()
        self._told |= self._found
        self._found = {}
        self._watched = [(place, where) for place, where in self._watched if isinstance(place, Path)]
        return found

    def blot(self, text: str) -> str:
        """The text without them, so that it can be shown."""
        data = text.encode(errors="surrogateescape")
        for form, name in self._forms.items():
            data = data.replace(form, f"<{name}>".encode())
        return data.decode(errors="surrogateescape")


def forms(value: bytes) -> Mapping[str, bytes]:
    """What a secret may look like."""
    found = {
        "as it is": value,
        "percent-encoded": quote(value, safe="").encode(),
        "percent-encoded, lower case": _lower_escapes(quote(value, safe="")).encode(),
        "hexadecimal": value.hex().encode(),
        "hexadecimal, upper case": value.hex().upper().encode(),
    }
    for offset in range(ALIGNMENTS):
        encoded = b64encode(bytes(offset) + value)
        # Only whole groups of the secret's own bits are certain.
        core = encoded[GROUP if offset else 0 : -GROUP]
        found[f"base64 at {offset}"] = core
        found[f"base64url at {offset}"] = core.translate(bytes.maketrans(b"+/", b"-_"))
    return found


def _lower_escapes(text: str) -> str:
    first, *rest = text.split("%")
    return first + "".join(f"%{part[:2].lower()}{part[2:]}" for part in rest)


def _contents(place: Path) -> Iterator[tuple[Path, bytes]]:
    if place.is_dir():
        for path in sorted(place.rglob("*")):
            if path.is_file():
                yield path, path.read_bytes()
    elif place.is_file():
        yield place, place.read_bytes()


# --- canaries that live longer than a test -------------------------------------------------------

SHARED: Final[list[Canary]] = []


@contextmanager
def shared_canary() -> Iterator[Canary]:
    """For a fixture of a module: each test of the module searches it."""
    canary = Canary()
    SHARED.append(canary)
    try:
        yield canary
    finally:
        SHARED.remove(canary)
