import json

from hypothesis import given
from hypothesis import strategies as st

from proxy.tokens.jwks import JwksFault, KeySet, VerificationKey, read_jwks
from tests.pod_tokens import TokenIssuer, jwks
from tests.real_tokens import JWKS

SAMPLES = (JWKS, jwks(TokenIssuer(), TokenIssuer(algorithm="RS256")))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=8,
)


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """A real set in which a few bytes are others."""
    data = bytearray(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(1, 3))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


@st.composite
def disfigured(draw: st.DrawFn) -> bytes:
    """A real set in which some members are of any type."""
    read = json.loads(draw(st.sampled_from(SAMPLES)))
    for key in read["keys"]:
        for name in draw(st.lists(st.sampled_from([*key, "d", "x5c", "key_ops"]), max_size=3)):
            key[name] = draw(VALUES)
    return json.dumps(read).encode()


def test_no_prefix_of_a_key_set_is_a_key_set() -> None:
    for sample in SAMPLES:
        whole = read_jwks(sample)
        assert isinstance(whole, KeySet)
        assert all(isinstance(read_jwks(sample[:size]), JwksFault) for size in range(len(sample)))


@given(
    data=st.one_of(st.binary(), spoiled(), disfigured(), st.builds(lambda v: json.dumps(v).encode(), VALUES))
)
def test_whatever_a_server_sends_is_answered(data: bytes) -> None:
    read = read_jwks(data)

    if isinstance(read, KeySet):
        assert read.keys
        assert all(read.find(key.key_id) is key for key in read.keys)
        assert all(isinstance(key, VerificationKey) and key.key_id.isprintable() for key in read.keys)
        assert all(note.isprintable() for note in read.notes)
    else:
        assert read.message.isprintable()
