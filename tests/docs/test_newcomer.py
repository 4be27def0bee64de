"""From the README alone, in an empty home: set up, demo, write a policy, break it, read why, mend it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console_blocks import console_blocks, matches, needs_cluster
from tests.newcomer import MISSING, ROOT, Newcomer, newcomer, skip_without_network
from tests.readme import INSTALL, policy_of_the_readme

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),  # a new machine installs everything
    pytest.mark.skipif(bool(MISSING), reason=MISSING),
]

README = ROOT / "README.md"

# What people do to the README's policy: what stood there, and what they wrote.
MISTAKES = {
    "a key": ("prefixes:", "prefixs:"),
    "a kind": ("kind: AccessPolicy", "kind: AcessPolicy"),
    "a credential": ("credential: training-s3", "credential: trainings3"),
    "a value of a list": ("[read, list]", "[read, lst]"),
    "a service": ("service: s3", "service: S3"),
    "another letter case": ("secretName:", "secretname:"),
}


@pytest.fixture(scope="module")
def anna() -> Iterator[Newcomer]:
    with newcomer() as one:
        (cloned,) = one.terminal([f"git clone --quiet {one.served} podkey"])
        assert cloned.status == 0, cloned.output
        yield one


@pytest.fixture(scope="module")
def follows_the_readme(anna: Newcomer) -> Newcomer:
    """Every command of the README up to the cluster, in its order, in one terminal, in the clone."""
    blocks = [block for block in console_blocks(README) if block.line < INSTALL.line]
    commands = [command for block in blocks for command in block.commands]
    assert not any(needs_cluster(command.text) for command in commands)
    assert {"make setup", "make demo"} <= {command.text for command in commands}
    anna.write("policy.yaml", policy_of_the_readme())

    answers = anna.terminal([command.text for command in commands], anna.clone)

    skip_without_network(answers[0])
    for number, (command, answer) in enumerate(zip(commands, answers, strict=True)):
        refused = answer.status == 2 and command.shown
        told = number + 1 < len(commands) and commands[number + 1].text == "echo $?"
        assert answer.status == 0 or refused or told, f"$ {command.text}\n{answer.output}"
        if command.shown:
            assert matches(command.shown, answer.output), f"$ {command.text}\n{answer.output}"
    return anna


def podkey(who: Newcomer, command: str) -> tuple[int, str]:
    (answer,) = who.terminal([f".venv/bin/podkey {command}"], who.clone)
    return answer.status, answer.output


def test_the_readme_alone_leads_from_an_empty_home_to_a_refusal_that_was_understood(
    follows_the_readme: Newcomer,
) -> None:
    assert (follows_the_readme.clone / ".venv/bin/podkey").exists()


def test_nothing_but_the_clone_and_caches_is_left_in_the_home(follows_the_readme: Newcomer) -> None:
    left = {one.name for one in follows_the_readme.home.iterdir()}

    assert left <= {"podkey", ".cache", ".local", ".config"}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_doing_what_the_error_says_mends_the_file(
    follows_the_readme: Newcomer, mistake: tuple[str, str]
) -> None:
    policy = policy_of_the_readme()
    right, wrong = mistake
    assert policy.count(right) == 1
    line = policy[: policy.index(right)].count("\n") + 1
    broken = follows_the_readme.write("mine.yaml", policy.replace(right, wrong))

    status, said = podkey(follows_the_readme, "check mine.yaml")

    assert status == 1
    first = re.match(r"mine\.yaml:(\d+): [^\n`]*`([^`]+)`[^\n]*\n    fix: did you mean `([^`]+)`\?\n", said)
    assert first is not None, said
    # The line, or that of the grant around it; never below.
    assert int(first[1]) <= line <= int(first[1]) + 6
    mended = re.sub(rf"(?<![\w-]){re.escape(first[2])}(?![\w-])", first[3], broken.read_text())
    follows_the_readme.write("mine.yaml", mended)
    assert podkey(follows_the_readme, "check mine.yaml") == (0, OK)
    assert mended == policy


OK = "ok: 2 documents in 1 file (1 AccessPolicy, 1 CredentialSource)\n"


def test_a_tab_and_a_bracket_are_told_by_their_line(follows_the_readme: Newcomer) -> None:
    policy = policy_of_the_readme()
    for wrong, line in (
        (policy.replace("      access", "\taccess"), 12),
        (policy.replace("[trainer]", "[trainer"), 7),
    ):
        follows_the_readme.write("mine.yaml", wrong)

        status, said = podkey(follows_the_readme, "check mine.yaml")

        assert status == 1
        assert said.startswith(f"mine.yaml:{line}: not valid YAML: ")
        assert "\n    fix: " in said


def test_what_was_refused_is_granted_after_doing_what_the_refusal_says(follows_the_readme: Newcomer) -> None:
    question = (
        "explain DELETE https://acme-datasets.s3.eu-central-1.amazonaws.com/imagenet/x "
        "--policies mine.yaml -n training --service-account trainer --gpu"
    )
    follows_the_readme.write("mine.yaml", policy_of_the_readme())
    status, said = podkey(follows_the_readme, question)
    assert status == 2
    assert "what to change: Add the class (`read`, `write`, `list`, `delete`)" in said

    follows_the_readme.write(
        "mine.yaml", policy_of_the_readme().replace("[read, list]", "[read, list, delete]")
    )
    status, said = podkey(follows_the_readme, question)

    assert status == 0
    assert "verdict  attach [granted]\n" in said


def test_the_code_of_the_refusal_can_be_looked_up(follows_the_readme: Newcomer) -> None:
    status, said = podkey(follows_the_readme, "reasons action_not_granted")

    assert status == 0
    assert said.startswith("action_not_granted\n")
    assert Path(ROOT / "docs/reasons.md").read_text().count("## action_not_granted\n") == 1
