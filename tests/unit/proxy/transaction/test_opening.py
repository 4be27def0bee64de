"""What an opening shows of itself."""

from proxy.core.secret import Secret
from proxy.transaction.opening import Forward
from tests.transaction_world import CANARY, forwarded, head


def test_until_something_is_attached_there_is_nothing_to_look_for() -> None:
    record = forwarded(head()).record
    sent = Forward(record, "api.example.com", "/v1", ())

    assert not sent.attached
    assert not sent.is_websocket
    assert not sent.forms
    assert not sent.credential_fields


def test_neither_our_credential_nor_the_applications_is_printed() -> None:
    ours = CANARY.encode()
    sent = Forward(
        forwarded(head()).record,
        "api.example.com",
        f"/v1?token={CANARY}",
        (("cookie", CANARY), ("authorization", Secret(ours))),
        forms=frozenset({ours}),
    )

    assert CANARY not in repr(sent)
    assert "api.example.com" in repr(sent)
