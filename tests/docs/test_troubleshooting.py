"""Whoever has a code finds it in the page about trouble, and from there what it means."""

import re
from collections import Counter
from typing import Final

from proxy.core.injection_codes import InjectionCode
from proxy.core.reasons import Reason
from tests.console_blocks import ROOT

PAGE: Final = (ROOT / "docs/troubleshooting.md").read_text()
LINKS: Final = re.findall(r"\[`(\w+)`\]\(([\w-]+)\.md#(\w+)\)", PAGE)


def test_every_code_of_a_request_leads_to_its_entry() -> None:
    linked = {code for code, page, anchor in LINKS if page == "reasons" and anchor == code}

    assert linked == {reason.value for reason in Reason}


def test_every_code_of_a_pod_leads_to_its_entry() -> None:
    linked = {code for code, page, anchor in LINKS if page == "injection-codes" and anchor == code}

    assert linked == {code.value for code in InjectionCode}


def test_a_code_stands_in_one_place() -> None:
    twice = [code for code, count in Counter(code for code, _, _ in LINKS).items() if count > 1]

    assert twice == []
