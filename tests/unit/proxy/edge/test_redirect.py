"""A stand-in for `nft` says what the real one was seen to say; tests/integration runs the real one."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from proxy.core.redirect import Redirect, render_removal, render_ruleset
from proxy.edge import redirect
from proxy.edge.redirect import RedirectError, apply_redirect, loaded_redirect, remove_redirect

NO_CAPABILITY = "netlink: Error: cache initialization failed: Operation not permitted"
GVISOR = "Unable to initialize Netlink socket: Protocol not supported"
MANY = tuple(ip_network(f"10.{n // 256}.{n % 256}.0/32") for n in range(0, 65_536, 8))
OLD_KERNEL = """/dev/stdin:9:11-15: Error: Could not process rule: No such file or directory
    chain capture {
          ^^^^^^^
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which `nft` is looked for."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(redirect, "SYSTEM_FOLDERS", ())
    return tmp_path


def install_nft(folder: Path, body: str) -> None:
    program = folder / "nft"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)


def install_failing_nft(folder: Path, said: str) -> None:
    (folder / "said").write_text(said)
    install_nft(folder, f"/bin/cat >/dev/null; /bin/cat {folder}/said >&2; exit 1")


def install_recording_nft(folder: Path) -> None:
    install_nft(folder, f'echo "$@" >{folder}/arguments; /bin/cat >{folder}/input; echo listed')


def test_apply_hands_the_whole_ruleset_over_at_once(folder: Path) -> None:
    install_recording_nft(folder)

    apply_redirect(Redirect())

    assert (folder / "arguments").read_text() == "-f -\n"
    assert (folder / "input").read_text() == render_ruleset(Redirect())


def test_remove_hands_the_removal_over(folder: Path) -> None:
    install_recording_nft(folder)

    remove_redirect()

    assert (folder / "input").read_text() == render_removal()


def test_what_is_loaded_is_asked_for_our_table_only(folder: Path) -> None:
    install_recording_nft(folder)

    assert loaded_redirect() == "listed\n"
    assert (folder / "arguments").read_text() == "list table inet podkey\n"


def test_nft_is_found_where_a_short_path_leaves_it_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_recording_nft(folder)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(redirect, "SYSTEM_FOLDERS", (str(folder),))

    assert loaded_redirect() == "listed\n"


@pytest.mark.parametrize(
    ("said", "message", "fix"),
    [
        (NO_CAPABILITY, f"the capability NET_ADMIN is missing ({NO_CAPABILITY})", "add NET_ADMIN"),
        (
            "Operation not permitted (you must be root)",
            "the capability NET_ADMIN is missing (Operation not permitted (you must be root))",
            "add NET_ADMIN",
        ),
        (
            GVISOR,
            f"this kernel has no nftables (gVisor, for example) ({GVISOR})",
            "PODKEY_CAPTURE=explicit",
        ),
        (
            OLD_KERNEL,
            f"this kernel lacks a part of nftables that the redirect needs ({OLD_KERNEL.splitlines()[0]})",
            "nft_chain_nat",
        ),
        (
            "/dev/stdin:1:1-5: Error: syntax error, unexpected string",
            "nft refused the rules (/dev/stdin:1:1-5: Error: syntax error, unexpected string)",
            "podkey redirect show | nft -c -f -",
        ),
        ("", "nft refused the rules (nft said nothing)", "PODKEY_CAPTURE=explicit"),
    ],
)
def test_what_nft_says_becomes_what_to_do(folder: Path, said: str, message: str, fix: str) -> None:
    install_failing_nft(folder, said)

    with pytest.raises(RedirectError) as caught:
        apply_redirect(Redirect())

    assert caught.value.message == str(caught.value) == message
    assert fix in caught.value.fix


def test_nothing_loaded_is_not_an_old_kernel(folder: Path) -> None:
    install_failing_nft(folder, "Error: No such file or directory\nlist table inet podkey\n")

    with pytest.raises(RedirectError, match=r"^no redirect is loaded here$") as caught:
        loaded_redirect()

    assert caught.value.fix == "run `podkey redirect apply`"


def test_a_refusal_to_list_keeps_its_reason(folder: Path) -> None:
    install_failing_nft(folder, NO_CAPABILITY)

    with pytest.raises(RedirectError, match="NET_ADMIN is missing"):
        loaded_redirect()


def test_a_missing_nft_is_said(folder: Path) -> None:
    with pytest.raises(RedirectError, match=r"^the program nft is not installed here$") as caught:
        apply_redirect(Redirect())

    assert "the package nftables" in caught.value.fix
    assert "PODKEY_CAPTURE=explicit" in caught.value.fix


def test_an_nft_that_cannot_run_is_said(folder: Path) -> None:
    program = folder / "nft"
    program.write_text("#!/nowhere/sh\n")
    program.chmod(0o755)

    with pytest.raises(RedirectError, match=f"^{program} cannot be run: No such file or directory$"):
        apply_redirect(Redirect())


def test_something_else_is_done_while_nft_works(folder: Path) -> None:
    """It ends only when that is done."""
    install_nft(folder, f"while ! [ -e {folder}/done ]; do /bin/sleep 0.01; done; echo done >{folder}/seen")

    apply_redirect(Redirect(), meanwhile=(folder / "done").touch)

    assert (folder / "seen").read_text() == "done\n"


def test_more_than_a_pipe_holds_goes_in_and_comes_out(folder: Path) -> None:
    install_nft(folder, f"cd {folder}; /bin/cat >in; /bin/cat in in in in in in in in in; /bin/cat in >&2")
    rules = render_ruleset(Redirect(excluded_cidrs=MANY))

    status, listed, said = redirect._run([str(folder / "nft")], rules, None)

    assert len(said) > 2**17
    assert (status, listed) == (0, said * 9)
    assert said == rules


def test_an_nft_that_reads_nothing_stops_nobody(folder: Path) -> None:
    install_nft(folder, "echo Error: no >&2; exit 1")

    with pytest.raises(RedirectError, match="Error: no"):
        apply_redirect(Redirect(excluded_cidrs=MANY))


def test_an_nft_that_is_killed_has_failed(folder: Path) -> None:
    install_nft(folder, "kill -9 $$")

    with pytest.raises(RedirectError, match="nft said nothing"):
        apply_redirect(Redirect())


def test_an_nft_that_hangs_is_ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_nft(folder, "exec /bin/sleep 60")
    monkeypatch.setattr(redirect, "NFT_SECONDS", 0.05)

    with pytest.raises(RedirectError, match=r"^nft did not finish within 0\.05 seconds$"):
        apply_redirect(Redirect())
