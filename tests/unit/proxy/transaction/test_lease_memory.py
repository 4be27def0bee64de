from secrets import token_hex

from proxy.attach.placing import Placement, Unplaceable
from proxy.aws.sigv4 import SigningKeys
from proxy.core.credentials import Basic, Bearer
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.core.structs import replace
from proxy.transaction.lease_memory import MAX_OPENINGS, NO_FORMS, openings, placed, signing
from proxy.transaction.redaction import forms_of
from tests.transaction_world import POD, forwarded, head

VALUE = token_hex(16).encode()


def placement(found: object) -> Placement:
    assert isinstance(found, tuple)
    assert isinstance(found[0], Placement)
    return found[0]


def test_a_placement_is_made_once_for_a_lease_and_a_scheme() -> None:
    parts = {Part.TOKEN: Secret(VALUE)}

    first = placed(Bearer(), parts)
    assert placed(Bearer(), parts) is first
    assert placed(Basic("me"), parts) is not first
    assert isinstance(first, tuple)
    assert first[1] == forms_of(parts.values())


def test_another_lease_that_shares_a_secret_gets_its_own() -> None:
    secret = Secret(VALUE)
    one = {Part.PASSWORD: secret, Part.USERNAME: Secret(b"one")}
    other = {Part.PASSWORD: secret, Part.USERNAME: Secret(b"other")}

    shown = [placement(placed(Basic(None), parts)).headers[0][1] for parts in (one, other, one)]

    assert shown[0] == shown[2] != shown[1]


def test_what_cannot_be_placed_says_so_each_time() -> None:
    assert isinstance(placed(Bearer(), {}), Unplaceable)
    assert isinstance(placed(Bearer(), {Part.TOKEN: Secret(b"a b")}), Unplaceable)
    assert isinstance(signing({}), Unplaceable)


def test_signing_keys_are_read_once_and_their_token_alone_is_not_to_be_shown() -> None:
    static = {Part.ACCESS_KEY_ID: Secret(b"me"), Part.SECRET_ACCESS_KEY: Secret(VALUE)}
    session = static | {Part.SESSION_TOKEN: Secret(VALUE)}

    assert signing(static) is signing(static)
    for parts, forms in ((static, NO_FORMS), (session, forms_of((Secret(VALUE),)))):
        found = signing(parts)
        assert isinstance(found, tuple)
        assert isinstance(found[0], SigningKeys)
        assert found[1] == forms


def test_forms_are_not_shown() -> None:
    forms = forms_of((Secret(VALUE),))

    assert VALUE in forms
    assert VALUE.decode() not in repr(forms)


def test_openings_are_a_leases_own_and_end_with_it() -> None:
    secret = Secret(VALUE)
    parts, others = {Part.TOKEN: secret}, {Part.TOKEN: secret, Part.USERNAME: Secret(b"other")}
    forward = forwarded(head())
    openings(parts).put("again", forward)
    assert openings(parts).get(POD, "again") is None  # it was put for no state of the pod

    openings(parts).put("again", forward)
    assert openings(parts).get(POD, "again") is forward
    assert openings(others).get(POD, "again") is None
    secret.overwrite()
    assert openings(parts).get(POD, "again") is None


def test_openings_end_with_the_state_of_the_pod_and_with_their_second() -> None:
    kept, forward, other = openings({Part.TOKEN: Secret(VALUE)}), forwarded(head()), replace(POD)
    assert kept.get(POD, "again", 5) is None
    kept.put("again", forward, 5)

    assert kept.get(POD, "again", 6) is None
    assert kept.get(POD, "again", 5) is forward
    assert kept.get(other, "again", 5) is None
    assert kept.get(POD, "again", 5) is None


def test_openings_are_bounded_and_what_came_last_is_among_them() -> None:
    kept, forward = openings({Part.TOKEN: Secret(VALUE)}), forwarded(head())
    assert kept.get(POD, 0) is None
    for number in range(10 * MAX_OPENINGS):
        kept.put(number, forward)
        assert kept.get(POD, number) is forward

    assert sum(kept.get(POD, number) is not None for number in range(10 * MAX_OPENINGS)) <= MAX_OPENINGS
