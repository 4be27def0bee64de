import pytest

from proxy.core.credentials import Bearer, CredentialRef
from proxy.core.policy import OnForeignCredential
from proxy.core.reasons import Reason
from proxy.core.verdict import Attach, PassThrough, Refuse, RuleRef

RULE = RuleRef("ml-team", "training", 2)
ATTACH = Attach(RULE, CredentialRef("ml-team", "openai"), Bearer())


@pytest.mark.parametrize(
    ("would", "reason"),
    [
        (Refuse(Reason.PATH_NOT_GRANTED), Reason.PATH_NOT_GRANTED),
        (Refuse(Reason.PIN_NOT_GRANTED, RULE), Reason.PIN_NOT_GRANTED),
        (ATTACH, None),
        (None, None),
    ],
)
def test_a_pass_tells_what_an_enforcing_policy_would_refuse(
    would: Attach | Refuse | None, reason: Reason | None
) -> None:
    assert PassThrough(Reason.WOULD_REFUSE, would).would_refuse is reason


def test_a_rule_is_shown_by_the_place_where_people_find_it() -> None:
    assert str(RULE) == "ml-team/training grants[2]"


def test_rules_sort_by_namespace_policy_and_place() -> None:
    rules = [RuleRef("b", "a", 0), RuleRef("a", "b", 10), RuleRef("a", "b", 9), RuleRef("a", "a", 11)]
    shown = [str(rule) for rule in sorted(rules)]
    assert shown == ["a/a grants[11]", "a/b grants[9]", "a/b grants[10]", "b/a grants[0]"]


def test_an_attachment_is_granted_and_replaces_unless_it_says_otherwise() -> None:
    assert ATTACH.reason is Reason.GRANTED
    assert ATTACH.on_foreign_credential is OnForeignCredential.REPLACE
    assert ATTACH.expected_bucket_owner is None


def test_a_refusal_need_not_name_a_rule() -> None:
    assert Refuse(Reason.PATH_NOT_GRANTED) == Refuse(Reason.PATH_NOT_GRANTED, None)
    assert Refuse(Reason.PATH_NOT_GRANTED) != Refuse(Reason.PATH_NOT_GRANTED, RULE)


def test_a_verdict_cannot_be_changed_after_it_was_reached() -> None:
    verdict = Refuse(Reason.PATH_NOT_GRANTED)
    with pytest.raises(AttributeError):
        verdict.reason = Reason.GRANTED  # type: ignore[misc]
