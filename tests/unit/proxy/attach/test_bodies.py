from proxy.attach.bodies import BodyFault, BodyTransform
from proxy.attach.chunked_body import ChunkedBody
from proxy.core.reasons import Reason
from tests.chunked_bodies import Chain


def test_a_fault_is_a_refusal_and_one_clause() -> None:
    fault = BodyFault(Reason.MALFORMED_BODY, "it ended too early")
    assert (fault.reason, fault.message) == (Reason.MALFORMED_BODY, "it ended too early")


def test_a_body_in_signed_chunks_is_a_transform() -> None:
    body: BodyTransform = ChunkedBody(Chain(b"k"), 0)
    assert body.held == 0
    assert isinstance(body.finish(), BodyFault)
