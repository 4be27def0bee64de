import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.fields import NOT_IN_TOKEN, NOT_IN_VALUE, NOT_VISIBLE, SHOWN_NAME, field_fault, shown, stray

TCHARS = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def test_a_name_is_a_token() -> None:
    allowed = {byte for byte in range(256) if field_fault(bytes([byte]), b"") is None}

    assert allowed == set(TCHARS)


def test_a_value_holds_no_control_but_the_tab() -> None:
    allowed = {byte for byte in range(256) if field_fault(b"a", bytes([byte])) is None}

    assert allowed == {0x09, *range(0x20, 0x7F), *range(0x80, 0x100)}


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        (b"", b"a", "a field has no name (RFC 9110 §5.1)"),
        (b"a b", b"", "the field name `a?b` holds a space (RFC 9110 §5.1)"),
        (b"a\t", b"", "the field name `a?` holds a tab (RFC 9110 §5.1)"),
        (b"a:b", b"", "the field name `a:b` holds `:` (RFC 9110 §5.1)"),
        (b"caf\xc3\xa9", b"", "the field name `caf??` holds a byte that is not ASCII (RFC 9110 §5.1)"),
        (b"a\x80", b"", "the field name `a?` holds a byte that is not ASCII (RFC 9110 §5.1)"),
        (b"a\x7f", b"", "the field name `a?` holds the control character 0x7f (RFC 9110 §5.1)"),
        (b"a" * 60 + b"(", b"", f"the field name `{'a' * 40}` holds `(` (RFC 9110 §5.1)"),
        (b"X-Key", b"a\r\nb: c", "the value of `X-Key` holds a bare CR (RFC 9110 §5.5)"),
        (b"X-Key", b"a\nb", "the value of `X-Key` holds a bare LF (RFC 9110 §5.5)"),
        (b"X-Key", b"a\0", "the value of `X-Key` holds a NUL (RFC 9110 §5.5)"),
        (b"X-Key", b"\x1b[31m", "the value of `X-Key` holds the control character 0x1b (RFC 9110 §5.5)"),
        (b"X-Key", b"\x7f", "the value of `X-Key` holds the control character 0x7f (RFC 9110 §5.5)"),
    ],
)
def test_a_faulty_field_is_told_by_its_name(name: bytes, value: bytes, fault: str) -> None:
    assert field_fault(name, value) == fault


@pytest.mark.parametrize("value", [b"", b" a ", b"\ta\t", b'a, b; c="d"', b"caf\xc3\xa9", b"\xff"])
def test_other_values_are_left_alone(value: bytes) -> None:
    assert field_fault(b"X-Any", value) is None


@given(name=st.binary(min_size=1), value=st.binary())
def test_a_fault_never_shows_the_value(name: bytes, value: bytes) -> None:
    secret = b"sentinel" + value + b"\x00"

    fault = field_fault(name.replace(b"sentinel", b""), secret)

    assert fault is not None
    assert "sentinel" not in fault
    assert fault.replace("§", "").isascii()
    assert fault.isprintable()


@given(name=st.text())
def test_a_shown_name_is_short_and_printable(name: str) -> None:
    text = shown(name)

    assert len(text) <= SHOWN_NAME + 2
    assert text.isascii()
    assert text.isprintable()


@given(text=st.text(st.characters(max_codepoint=255)), more=st.text(st.characters(max_codepoint=255)))
@pytest.mark.parametrize("forbidden", [NOT_IN_TOKEN, NOT_IN_VALUE, NOT_VISIBLE])
def test_the_first_stray_character_stays_the_first(forbidden: object, text: str, more: str) -> None:
    found = stray(text, forbidden)  # type: ignore[arg-type]

    if found is not None:
        assert stray(text + more, forbidden) == found  # type: ignore[arg-type]
