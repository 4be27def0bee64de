"""Loads the redirect into the kernel with `nft`, and says what is missing when that cannot be done."""

import os
import select
from collections.abc import Callable
from io import FileIO
from time import monotonic
from typing import BinaryIO, Final, NamedTuple

from proxy.core.redirect import TABLE, Redirect, render_removal, render_ruleset

# One transaction takes 6 to 25 ms; a kernel that has to load modules first needs a second.
NFT_SECONDS: Final = 10
# Where Debian keeps nft; a minimal PATH may leave it out.
SYSTEM_FOLDERS: Final = ("/usr/sbin", "/sbin")

SIGKILL: Final = 9  # `signal` makes enumerations of all of them

_EXPLICIT: Final = "set PODKEY_CAPTURE=explicit, which needs no redirect"


class RedirectError(Exception):
    """The kernel did not take the rules."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


class _Diagnosis(NamedTuple):
    said: tuple[str, ...]  # by nft: one of these
    message: str
    fix: str


# The first that fits.
_DIAGNOSES: Final = (
    _Diagnosis(
        ("Operation not permitted", "must be root"),
        "the capability NET_ADMIN is missing",
        "give this container NET_ADMIN and no other capability (securityContext.capabilities: "
        f"drop ALL, add NET_ADMIN); where that is not allowed {_EXPLICIT}",
    ),
    # What gVisor answers: it has no netlink socket for netfilter (google/gvisor#9917).
    _Diagnosis(
        ("Protocol not supported", "Address family not supported", "Failed to initialize nft"),
        "this kernel has no nftables (gVisor, for example)",
        _EXPLICIT,
    ),
    # Before Linux 5.2 the inet family has no nat chains.
    _Diagnosis(
        tuple(
            f"Could not process rule: {why}"
            for why in ("No such file", "Operation not supported", "Protocol wrong", "Invalid argument")
        ),
        "this kernel lacks a part of nftables that the redirect needs",
        "use Linux 5.2 or newer with the modules nft_chain_nat, nft_redir, nft_reject_inet and nft_ct "
        f"loaded on the node, or {_EXPLICIT}",
    ),
)


def apply_redirect(redirect: Redirect, meanwhile: Callable[[], object] | None = None) -> None:
    """Replace whatever rules of ours are loaded, at once for IPv4 and IPv6.

    `meanwhile` is what the caller can do while `nft` waits for the kernel.
    """
    _nft(["-f", "-"], render_ruleset(redirect), meanwhile)


def remove_redirect() -> None:
    _nft(["-f", "-"], render_removal())


def loaded_redirect() -> str:
    """Our table as the kernel has it, with its counters."""
    try:
        return _nft(["list", "table", *TABLE.split()])
    except _NftError as error:
        if error.said.startswith("Error: No such file or directory"):
            raise RedirectError("no redirect is loaded here", "run `podkey redirect apply`") from None
        raise


class _NftError(RedirectError):
    def __init__(self, said: str) -> None:
        self.said = said
        for diagnosis in _DIAGNOSES:
            if any(words in said for words in diagnosis.said):
                break
        else:
            fix = f"try the rules by hand: podkey redirect show | nft -c -f -; or {_EXPLICIT}"
            diagnosis = _Diagnosis((), "nft refused the rules", fix)
        first = said.strip().partition("\n")[0] or "nft said nothing"
        super().__init__(f"{diagnosis.message} ({first})", diagnosis.fix)


def _found() -> str | None:
    """As `shutil.which` would find it, which loads three kinds of compression while a pod waits."""
    paths = (os.path.join(folder, "nft") for folder in (*os.get_exec_path(), *SYSTEM_FOLDERS))  # noqa: PTH118
    return next((path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)), None)  # noqa: PTH113


def _nft(arguments: list[str], text: str = "", meanwhile: Callable[[], object] | None = None) -> str:
    nft = _found()
    if nft is None:
        fix = f"use podkey's image, or install the package nftables; or {_EXPLICIT}"
        raise RedirectError("the program nft is not installed here", fix)
    try:
        status, listed, said = _run([nft, *arguments], text, meanwhile)
    except TimeoutError:
        message = f"nft did not finish within {NFT_SECONDS} seconds"
        raise RedirectError(message, "look for other programs that hold the node's nftables lock") from None
    except OSError as error:
        fix = "check the program and its permissions, or use podkey's image"
        raise RedirectError(f"{nft} cannot be run: {error.strerror}", fix) from None
    if status:
        raise _NftError(said)
    return listed


def _run(argv: list[str], text: str, meanwhile: Callable[[], object] | None) -> tuple[int, str, str]:
    """Its status, its output and its complaints: `subprocess` would take 10 ms to load while a pod waits.

    Input and output are files in memory, so that neither side ever waits for the other to read.
    """
    with _memory() as given, _memory() as listed:
        given.write(text.encode())
        given.seek(0)
        reading, writing = os.pipe()
        with FileIO(reading) as complaints:
            files = enumerate((given.fileno(), listed.fileno(), writing))
            moved = [(os.POSIX_SPAWN_DUP2, file, number) for number, file in files]
            try:
                # Its messages are read above.
                pid = os.posix_spawn(argv[0], argv, {"LC_ALL": "C"}, file_actions=moved)
            finally:
                os.close(writing)
            if meanwhile is not None:
                meanwhile()
            try:
                said = _until_its_end(complaints)
            except TimeoutError:
                os.kill(pid, SIGKILL)
                raise
            finally:
                _, status = os.waitpid(pid, 0)
        listed.seek(0)
        return os.waitstatus_to_exitcode(status), _text(listed.read()), _text(said)


def _memory() -> BinaryIO:
    return open(os.memfd_create("nft"), "w+b")  # noqa: PTH123 - a descriptor


def _until_its_end(pipe: FileIO) -> bytes:
    """All that comes before the program ends, which closes it."""
    until = monotonic() + NFT_SECONDS
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    said = b""
    while poll.poll(max(0, until - monotonic()) * 1000):
        part = pipe.read(select.PIPE_BUF)
        if not part:
            return said
        said += part
    raise TimeoutError


def _text(said: bytes) -> str:
    return said.decode(errors="backslashreplace")
