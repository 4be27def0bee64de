import copy
import operator
import pickle
import traceback
import weakref
from dataclasses import dataclass

import pytest

from proxy.core.secret import Secret

VALUE = b"canary-0123456789"
SECRET = Secret(VALUE)


def test_reveal_is_the_one_way_out() -> None:
    assert SECRET.reveal() == VALUE
    assert [name for name in dir(SECRET) if not name.startswith("_")] == ["derive", "overwrite", "reveal"]


def test_what_is_made_of_it_is_made_once_for_each_purpose_and_goes_with_it() -> None:
    secret, made = Secret(VALUE), []

    def make() -> object:
        made.append(None)
        return len(made)

    assert [secret.derive("one", make), secret.derive("one", make), secret.derive("two", make)] == [1, 1, 2]
    secret.overwrite()
    assert [secret.derive("one", make), secret.derive("one", make)] == [3, 4]


@pytest.mark.parametrize(
    "slip",
    [
        str,
        "{}".format,
        "{!s:>9}".format,
        lambda secret: f"{secret}",
        lambda secret: f"{secret:>40}",
        lambda secret: "%s" % secret,  # noqa: UP031 - an old way to slip
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
    ],
)
def test_a_slip_fails_loudly_and_shows_nothing(slip: object) -> None:
    with pytest.raises(TypeError) as caught:
        slip(SECRET)  # type: ignore[operator]

    assert "canary" not in "".join(traceback.format_exception(caught.value))


@dataclass(frozen=True, slots=True)
class Holder:
    secret: Secret


@pytest.mark.parametrize("holder", [SECRET, [SECRET], {"a": SECRET}, Holder(SECRET), (SECRET, 1)])
def test_what_tracebacks_and_debuggers_print_is_a_mask(holder: object) -> None:
    for shown in (repr(holder), f"{holder!r}", "%r" % (holder,), ascii(holder)):  # noqa: UP031
        assert "canary" not in shown
        assert "Secret(" in shown


def test_it_has_no_attributes_to_print() -> None:
    assert not hasattr(SECRET, "__dict__")


def test_what_is_derived_from_it_can_be_told_when_it_goes() -> None:
    secret = Secret(VALUE)
    gone = weakref.ref(secret)
    assert gone() is secret
    del secret
    assert gone() is None


def test_equal_bytes_are_equal_secrets_and_nothing_else_is() -> None:
    assert Secret(b"a") == Secret(b"a")
    assert Secret(b"a") != Secret(b"b")
    assert Secret(b"a") != b"a"
    assert Secret(b"") != None  # noqa: E711 - the comparison itself


def test_it_is_no_key_of_a_table() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(SECRET)


def test_an_empty_secret_is_false() -> None:
    assert SECRET
    assert not Secret(b"")


# --- overwriting -------------------------------------------------------------------------------------


def test_what_is_overwritten_is_gone_and_says_so() -> None:
    secret = Secret(VALUE)
    secret.overwrite()

    assert not secret
    assert bytes(secret._value) == bytes(len(VALUE))
    with pytest.raises(ValueError, match="was overwritten; nobody should hold it any more") as caught:
        secret.reveal()
    assert "canary" not in str(caught.value)
    assert repr(secret) == repr(SECRET)


def test_zeros_are_never_sent_for_a_secret() -> None:
    """An empty one has no bytes to overwrite, and is not revealed afterwards either."""
    secret = Secret(b"")
    secret.overwrite()

    with pytest.raises(ValueError, match="was overwritten"):
        secret.reveal()


def test_to_overwrite_twice_is_to_overwrite() -> None:
    secret = Secret(VALUE)
    secret.overwrite()
    secret.overwrite()

    assert not secret


def test_what_was_revealed_and_what_it_was_made_of_stay_as_they_are() -> None:
    source = bytearray(VALUE)
    secret = Secret(bytes(source))
    revealed = secret.reveal()
    secret.overwrite()

    assert revealed == source == VALUE


def test_nothing_equals_an_overwritten_secret_by_chance() -> None:
    one, other = Secret(VALUE), Secret(VALUE)
    one.overwrite()
    other.overwrite()

    # Two of them would both be zeros.
    for pair in ((one, other), (one, SECRET), (SECRET, one)):
        with pytest.raises(ValueError, match="was overwritten"):
            operator.eq(*pair)
