"""A search that cannot find proves nothing: whatever is hidden in these places is found."""

import io
import os
import subprocess
import sys
import tarfile
from base64 import b64encode
from pathlib import Path

import pytest

from tests.canary import Canary
from tests.secret_search import CHUNK, OVERLAP, Search, search_folder, search_memory, search_tar

HOLD = """
import base64, os, sys
held = base64.b64decode(sys.stdin.readline())
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def own() -> Canary:
    """Not the canary of the test, which must not be found anywhere."""
    return Canary()


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for entry, data in members:
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    out.seek(0)
    return out


def test_a_secret_in_a_member_of_a_tar_is_found_and_named(own: Canary) -> None:
    secret = own.secret("key").encode()
    found = search_tar(own, tar_of((tarfile.TarInfo("a"), b"x"), (tarfile.TarInfo("b/c"), b"x" + secret)))
    assert found.findings == ["key (as it is) in b/c"]
    assert (found.members, found.size) == (2, 2 + len(secret))


def test_a_secret_in_a_name_or_a_link_is_found(own: Canary) -> None:
    secret = own.remember(own.secret("key").replace("/", ""), "name")
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, f"/{secret}"
    for entry in (tarfile.TarInfo(f"x-{secret}"), link):
        assert search_tar(own, tar_of((entry, b""))).findings


@pytest.mark.parametrize("before", [CHUNK - 5, CHUNK, 2 * CHUNK - 1, CHUNK - OVERLAP])
def test_a_secret_across_two_chunks_is_found(own: Canary, before: int, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(before) + own.secret("key").encode() + bytes(10))
    assert search_folder(own, tmp_path).findings == ["key (as it is) in large"]


def test_a_secret_in_a_stream_of_crumbs_is_found(own: Canary) -> None:
    class Crumbs:
        def __init__(self, data: bytes) -> None:
            self._data = io.BytesIO(data)

        def read(self, _size: int, /) -> bytes:
            return self._data.read(3)

    search = Search(own)
    search.look_at("crumbs", Crumbs(b"x" * 20 + own.secret("key").encode()))
    assert search.result.findings == ["key (as it is) in crumbs"]


def test_kept_members_are_searched_as_well(own: Canary) -> None:
    data = own.secret("key").encode()
    found = search_tar(own, tar_of((tarfile.TarInfo("seen.json"), data)), keep=("seen.json",))
    assert found.kept == {"seen.json": data}
    assert found.findings == ["key (as it is) in seen.json"]


def test_words_that_are_no_secrets_are_told_where_they_are(own: Canary, tmp_path: Path) -> None:
    own.secret("key")
    (tmp_path / "a").write_text("placeholder")
    found = search_folder(own, tmp_path, also={"word": "placeholder", "other": "nowhere"})
    assert found.seen == {"word": ["a"], "other": []}
    assert found.findings == []


def test_a_secret_in_memory_is_found_and_none_where_there_is_none(own: Canary) -> None:
    """It comes in another form, so that it stands nowhere but in the memory."""
    secret = own.secret("key").encode()
    for held, expected in ((secret, True), (os.urandom(32), False)):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b64encode(held) + b"\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"ready\n"
            found = search_memory(own, process.pid).findings
        finally:
            process.communicate()
        assert any("as it is" in one for one in found) is expected
