"""Loads the redirect into the kernel with `nft`, and says what is missing when that cannot be done."""

import os
import re
import subprocess
from dataclasses import dataclass
from typing import Final

from proxy.core.redirect import TABLE, Redirect, render_removal, render_ruleset

# One transaction takes 6 to 25 ms; a kernel that has to load modules first needs a second.
NFT_SECONDS: Final = 10
# Where Debian keeps nft; a minimal PATH may leave it out.
SYSTEM_FOLDERS: Final = ("/usr/sbin", "/sbin")

_EXPLICIT: Final = "set PODKEY_CAPTURE=explicit, which needs no redirect"


class RedirectError(Exception):
    """The kernel did not take the rules."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


@dataclass(frozen=True, slots=True)
class _Diagnosis:
    said: str  # by nft, as a pattern
    message: str
    fix: str


# The first that fits.
_DIAGNOSES: Final = (
    _Diagnosis(
        r"Operation not permitted|must be root",
        "the capability NET_ADMIN is missing",
        "give this container NET_ADMIN and no other capability (securityContext.capabilities: "
        f"drop ALL, add NET_ADMIN); where that is not allowed {_EXPLICIT}",
    ),
    # What gVisor answers: it has no netlink socket for netfilter (google/gvisor#9917).
    _Diagnosis(
        r"Protocol not supported|Address family not supported|Failed to initialize nft",
        "this kernel has no nftables (gVisor, for example)",
        _EXPLICIT,
    ),
    # Before Linux 5.2 the inet family has no nat chains.
    _Diagnosis(
        r"Could not process rule: (No such file|Operation not supported|Protocol wrong|Invalid argument)",
        "this kernel lacks a part of nftables that the redirect needs",
        "use Linux 5.2 or newer with the modules nft_chain_nat, nft_redir, nft_reject_inet and nft_ct "
        f"loaded on the node, or {_EXPLICIT}",
    ),
)


def apply_redirect(redirect: Redirect) -> None:
    """Replace whatever rules of ours are loaded, at once for IPv4 and IPv6."""
    _nft(["-f", "-"], render_ruleset(redirect))


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
            if re.search(diagnosis.said, said):
                break
        else:
            fix = f"try the rules by hand: podkey redirect show | nft -c -f -; or {_EXPLICIT}"
            diagnosis = _Diagnosis("", "nft refused the rules", fix)
        first = said.strip().partition("\n")[0] or "nft said nothing"
        super().__init__(f"{diagnosis.message} ({first})", diagnosis.fix)


def _found() -> str | None:
    """As `shutil.which` would find it, which loads three kinds of compression while a pod waits."""
    paths = (os.path.join(folder, "nft") for folder in (*os.get_exec_path(), *SYSTEM_FOLDERS))  # noqa: PTH118
    return next((path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)), None)  # noqa: PTH113


def _nft(arguments: list[str], text: str = "") -> str:
    nft = _found()
    if nft is None:
        fix = f"use podkey's image, or install the package nftables; or {_EXPLICIT}"
        raise RedirectError("the program nft is not installed here", fix)
    try:
        done = subprocess.run(  # noqa: S603 - our own text, to the program that it is written for
            [nft, *arguments],
            input=text,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            env={"LC_ALL": "C"},  # its messages are read below
            timeout=NFT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        message = f"nft did not finish within {NFT_SECONDS} seconds"
        raise RedirectError(message, "look for other programs that hold the node's nftables lock") from None
    except OSError as error:
        fix = "check the program and its permissions, or use podkey's image"
        raise RedirectError(f"{nft} cannot be run: {error.strerror}", fix) from None
    if done.returncode:
        raise _NftError(done.stderr)
    return done.stdout
