"""What a refusal says can be looked up: `docs/reasons.md` has a section for each code, and no other."""

from pathlib import Path

from proxy.core.injection_codes import InjectionCode
from proxy.core.reason_pages import REASONS
from proxy.core.reasons import NOT_REFUSED, Reason
from tests.architecture_rules import reason_violations

PAGE = Path(__file__).parents[2].joinpath("docs", "reasons.md").read_text()
CODES = [reason.value for reason in Reason]


def test_every_reason_has_its_section_and_every_section_its_reason() -> None:
    assert reason_violations(PAGE, CODES) == []


def test_every_code_of_a_pod_has_its_section_and_every_section_its_code() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "injection-codes.md").read_text()

    assert reason_violations(page, [code.value for code in InjectionCode]) == []


def test_every_section_says_what_the_table_says() -> None:
    stale = [
        reason.value
        for reason, page in REASONS.items()
        if f"## {reason.value}\n\n{page.meaning}\n\n- **Who acts:** {page.actor.value}\n"
        f"- **What to change:** {page.change}\n"
        + ("" if reason in NOT_REFUSED else f"- **Status:** {page.status}\n")
        not in PAGE
    ]

    assert stale == []


# --- the rule notices ----------------------------------------------------------------------------


def test_notices_a_reason_that_is_not_documented() -> None:
    assert reason_violations("## granted\n", ["granted", "moon_is_full"]) == [
        "`moon_is_full` has no section in docs/reasons.md"
    ]


def test_notices_a_section_about_nothing() -> None:
    assert reason_violations("## granted\n\n## moon_is_full\n", ["granted"]) == [
        "docs/reasons.md tells of `moon_is_full`, which no verdict has"
    ]
