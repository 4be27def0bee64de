from hypothesis import given

from proxy.sources.oauth_answers import HINTS, Issued, read_issued
from proxy.sources.steps import Failed, HttpReply
from tests.source_world import NOON
from tests.token_endpoint_answers import ODD_REPLIES


@given(reply=ODD_REPLIES)
def test_fuzz_whatever_a_server_answers_is_a_token_or_one_clause(reply: HttpReply) -> None:
    found = read_issued("it", reply, NOON, HINTS)
    if isinstance(found, Issued):
        assert reply.status == 200
        assert found.token.reveal().isascii()
        assert found.lifetime.total_seconds() >= 0
    else:
        assert isinstance(found, Failed)
        assert found.message.startswith("it answered ")
        assert found.message.isprintable()
        assert len(found.message) < 600
