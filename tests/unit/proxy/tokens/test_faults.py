from proxy.tokens.faults import FIXES, MAX_SHOWN, TokenFault, TokenFaultCode, shown, token_fault


def test_every_fault_has_a_fix() -> None:
    assert list(FIXES) == list(TokenFaultCode)


def test_a_message_is_one_clause_with_the_fix_at_its_end() -> None:
    assert token_fault(TokenFaultCode.NOT_YET_VALID, "the token begins tomorrow") == TokenFault(
        TokenFaultCode.NOT_YET_VALID, "the token begins tomorrow: set the node's clock right"
    )


def test_values_are_shown_short_and_printable() -> None:
    assert shown("trainer") == "trainer"
    assert shown("a\x1b[2J\ud800\u202e") == "a\\x1b[2J\\ud800\\u202e"
    assert shown("x" * 5000) == "x" * MAX_SHOWN + "…"
    assert shown(["x"]) == "(list)"
    assert shown(None) == "(NoneType)"
