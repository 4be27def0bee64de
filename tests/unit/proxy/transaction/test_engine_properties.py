"""What holds for every head that the wire lets through."""

from base64 import b64encode
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from proxy.core.arrival import Arrival
from proxy.core.credentials import CredentialRef
from proxy.core.lease import LeaseReply, NoLease
from proxy.core.queries import Query
from proxy.core.reasons import Reason
from proxy.core.request import RequestFacts
from proxy.core.secret import Secret
from proxy.core.settings import Capture
from proxy.core.structs import replace
from proxy.core.verdict import Attach
from proxy.judge.decide import decide
from proxy.transaction.engine import open_request
from proxy.transaction.head import Head, HeadProblem, head_of_http1, head_of_http2, problem_of
from proxy.transaction.opening import Forward, Refused
from proxy.transaction.refusals import render_refusal
from proxy.transaction.slots import classify, read_slots
from proxy.wire.outcomes import BadHead
from proxy.wire.request_head import RequestHead, read_request_head
from tests.judge_world import NOON
from tests.transaction_world import (
    API,
    CANARY,
    ENDPOINT,
    PLACEHOLDER,
    POD,
    POLICIES,
    TOKEN,
    WHO,
    drive,
    every_word,
    lease_of,
    text,
    to,
    values_of,
    wire_fields,
)

HOSTS = (
    *("api.example.com", "key.example.com", "query.example.com", "strict.example.com", "watched.example.com"),
    *("ported.example.com", "api.anthropic.com", "huggingface.co", "api.wandb.ai", "elsewhere.example"),
    *("s3.eu-central-1.amazonaws.com", "cdn-lfs.huggingface.co"),
)
# Stands in every slot that an application fills here, and nowhere else.
THEIRS = "their-own-0123456789"
SLOT_HEADERS = ("Authorization", "authorization", "X-Key", "x_key", "X-Api-Key", "X-Amz-Security-Token")

# --- heads -------------------------------------------------------------------------------------------

ports = st.sampled_from((443, 443, 443, 8443))
arrivals: SearchStrategy[Arrival] = st.one_of(
    st.builds(to, st.sampled_from(HOSTS), ports),
    st.sampled_from((API, ENDPOINT, replace(to("query.example.com"), path_prefix=TOKEN))),
    st.builds(
        lambda host, asked: replace(to(host), capture=Capture.EXPLICIT, asked=asked),
        st.sampled_from(HOSTS),
        st.sampled_from(("", "", "other.example.com")),
    ),
)
methods = st.sampled_from(("GET", "GET", "GET", "POST", "HEAD", "PUT", "OPTIONS", "TRACE", "get", "CONNECT"))
paths = st.lists(
    st.sampled_from(("/v1", "/v1/", "/models", "/data", "/shared", "/k", "/..", "/.", "/%2e", "/%2F", "//")),
    min_size=1,
    max_size=4,
).map("".join)
parameters = st.lists(
    st.sampled_from(
        (
            *("a=1", "b=%7e", "versionId=1", "c", "&", ";", "list-type=2", "X-Amz-Signature=0", "%0"),
            *(f"key={THEIRS}", f"KEY={THEIRS}", f"%6bey={THEIRS}", f"key[]={THEIRS}", f";Key={THEIRS}"),
        )
    ),
    max_size=4,
).map("&".join)
names = st.sampled_from(
    (
        *("Accept", "Accept-Encoding", "TE", "Content-Type", "X-Http-Method-Override", "OpenAI-Project"),
        *("Keep-Alive", "Proxy-Authorization", "Upgrade", "X-Amz-Expected-Bucket-Owner", "Content-Length"),
        *("Sec-WebSocket-Extensions", "Accept_Encoding", "OpenAI_Project", "X_Mine"),
    )
)
values = st.sampled_from(("trailers", "websocket", "gzip", "1", "0", "", "application/grpc", "111122223333"))
fields = st.one_of(
    st.tuples(names, values),
    st.tuples(st.just("Connection"), st.sampled_from(("close", "Upgrade", "te", "authorization", "x-key"))),
    st.tuples(
        st.sampled_from(SLOT_HEADERS),
        st.sampled_from((THEIRS, f"Bearer {THEIRS}", f"Token {THEIRS}", PLACEHOLDER, "Bearer", "")),
    ),
    st.tuples(
        st.just("Authorization"),
        st.sampled_from((f"x:{THEIRS}", f"x:{PLACEHOLDER}")).map(
            lambda pair: "Basic " + b64encode(pair.encode()).decode()
        ),
    ),
    st.tuples(st.just("Cookie"), st.sampled_from(("a=1", f"token={THEIRS}", f"a=1; Token={THEIRS}; b=2"))),
)


@st.composite
def asked(draw: st.DrawFn) -> tuple[Arrival, Head | HeadProblem]:
    """A connection, and a head as the readers of the wire make it from the bytes on it."""
    at = draw(arrivals)
    shown = "127.0.0.1:9000" if at.capture is Capture.ENDPOINT else at.shown_name
    host = draw(
        st.sampled_from(
            (shown, shown, shown, shown.upper(), at.name, f"{at.name}:443", "evil.example", f"{at.name}.")
        )
    )
    target = draw(paths)
    if at.path_prefix:
        target = draw(st.sampled_from((TOKEN, TOKEN, TOKEN, "", TOKEN[:-2], "/podkey-of-another"))) + target
    query = draw(parameters)
    target += f"?{query}" if query else ""
    method, sent = draw(methods), draw(st.lists(fields, max_size=6))
    if draw(st.booleans()):
        lines = [
            f"{method} {target} HTTP/1.1",
            f"Host: {host}",
            *(f"{name}: {value}" for name, value in sent),
        ]
        read = read_request_head("\r\n".join([*lines, "", ""]).encode())
        assert isinstance(read, RequestHead | BadHead)
        return at, problem_of(read) if isinstance(read, BadHead) else head_of_http1(read)
    block = [(":method", method), (":scheme", "https"), (":authority", host), (":path", target), *sent]
    raw = [(name.lower().encode(), value.encode()) for name, value in block]
    return at, head_of_http2(raw, ended=draw(st.booleans()))


# Heads that are judged, and more often than not granted.
@st.composite
def likely(draw: st.DrawFn) -> tuple[Arrival, Head | HeadProblem]:
    at = to(draw(st.sampled_from(HOSTS)))
    target = draw(st.sampled_from(("/v1/models", "/shared/k", "/v1/%6d/../x")))
    query = draw(parameters)
    sent = draw(st.lists(fields.filter(lambda field: field[0] not in {"Connection", "TE"}), max_size=5))
    block = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", at.name),
        (":path", f"{target}?{query}"),
    ]
    raw = [(name.lower().encode(), value.encode()) for name, value in (*block, *sent)]
    return at, head_of_http2(raw, ended=True)


cases = asked() | likely()


def verdict_on(at: Arrival, head: Head) -> object:
    """What the judge says of the request, read from the head once more and in the plainest way."""
    target = head.target.removeprefix(at.path_prefix)
    headers: dict[str, str] = {}
    for name, value in head.fields:
        headers[name.lower()] = f"{headers[name.lower()]},{value}" if name.lower() in headers else value
    rules = POLICIES.for_pod(WHO).rules_for(at.name)
    found = read_slots(head.fields, Query.parse(target.partition("?")[2]), rules.slots)
    facts = RequestFacts.of(
        at.name,
        head.method,
        target,
        port=at.port,
        headers={
            name: value
            for name, value in headers.items()
            if name in POLICIES.wanted_headers or name.startswith(rules.wanted_beginnings)
        },
        client_credential=classify(found, POD.placeholders),
    )
    return decide(POLICIES, WHO, facts, NOON)


# --- laws --------------------------------------------------------------------------------------------


@given(cases)
def test_a_credential_goes_only_where_the_judge_says_and_only_to_the_verified_name(
    case: tuple[Arrival, Head | HeadProblem],
) -> None:
    at, head = case
    driven = drive(head, at)
    if not (isinstance(driven.opening, Forward) and driven.opening.attached):
        # Nothing of ours is on any other request: only a Secret could hold it.
        if isinstance(driven.opening, Forward):
            assert not any(isinstance(value, Secret) for _, value in driven.opening.fields)
            assert not isinstance(driven.opening.target, Secret)
        return

    assert isinstance(head, Head)
    verdict = verdict_on(at, head)
    assert isinstance(verdict, Attach)
    assert driven.wanted == verdict.credential
    assert driven.opening.authority == at.shown_name
    assert not at.asked
    if at.capture is Capture.ENDPOINT:
        assert head.authority.lower() == "127.0.0.1:9000"
    else:
        assert head.authority.lower().removesuffix(f":{at.port}") == at.name
    assert head.target.startswith(at.path_prefix + "/")


@given(cases)
def test_what_the_judge_does_not_grant_is_never_asked_a_lease_for(
    case: tuple[Arrival, Head | HeadProblem],
) -> None:
    at, head = case
    driven = drive(head, at)
    if driven.wanted is not None:
        assert isinstance(head, Head)
        assert isinstance(verdict_on(at, head), Attach)


@given(cases)
def test_nothing_of_the_applications_slots_survives_beside_our_credential(
    case: tuple[Arrival, Head | HeadProblem],
) -> None:
    at, head = case
    opening = drive(head, at).opening
    if not (isinstance(opening, Forward) and opening.attached):
        return

    slots = POLICIES.for_pod(WHO).rules_for(at.name).slots
    query = text(opening.target).partition("?")[2]
    theirs = [(name, value) for name, value in opening.fields if isinstance(value, str)]
    assert read_slots(theirs, Query(), slots) == ()
    # Ours stands there once, in whichever slot it is; a signature names its key, and brings a token.
    ours = read_slots(wire_fields(opening), Query.parse(query), slots)
    times = 2 if opening.is_timed else 1
    assert ours == (CANARY,) * times
    assert every_word(opening).count(CANARY) <= times
    for name in slots.headers:
        assert len(values_of(opening, name)) <= 1
        assert THEIRS not in "".join(values_of(opening, name))
    if "Key" in slots.query:
        assert THEIRS not in query
    if "token" in slots.cookies:
        assert THEIRS not in "".join(values_of(opening, "cookie"))


@given(cases)
def test_what_is_attached_is_asked_for_uncompressed_and_leaves_nothing_of_the_connection(
    case: tuple[Arrival, Head | HeadProblem],
) -> None:
    at, head = case
    opening = drive(head, at).opening
    if not isinstance(opening, Forward):
        return

    assert isinstance(head, Head)
    hops = ("keep-alive", "proxy-connection", "proxy-authorization", "http2-settings")
    assert values_of(opening, *hops) == []
    assert values_of(opening, "connection") == (["Upgrade"] if opening.is_websocket else [])
    if opening.attached:
        assert values_of(opening, "accept-encoding") == ["identity"]
        assert values_of(opening, "sec-websocket-extensions") == []
        assert text(opening.target).partition("?")[0] == opening.record.path


FORMS = (
    CANARY,
    quote(CANARY, safe=""),
    *(b64encode(b"x" * before + CANARY.encode()).decode()[4:-4] for before in range(3)),
)


def broken(ref: CredentialRef) -> LeaseReply:
    return lease_of(ref, f"{CANARY}\r\n")


def none(ref: CredentialRef) -> LeaseReply:
    return NoLease(ref, "the Secret is not mounted")


@given(cases, st.sampled_from((lease_of, broken, none)))
def test_a_credential_is_never_in_a_refusal_a_record_or_anything_printed(
    case: tuple[Arrival, Head | HeadProblem], answer: object
) -> None:
    at, head = case
    opening = drive(head, at, answer=answer).opening  # type: ignore[arg-type]
    shown = [repr(case), repr(opening), repr(opening.record), str(opening.record.to_record())]
    if isinstance(opening, Refused):
        rendered = render_refusal(opening.refusal)
        shown += [opening.refusal.message, repr(rendered), rendered.body.decode()]
        assert answer is not lease_of or opening.refusal.reason is not Reason.CREDENTIAL_UNAVAILABLE
    for words in shown:
        assert not any(form in words for form in FORMS)
        assert TOKEN not in words


@given(cases)
def test_every_request_ends_in_an_opening_with_a_whole_record(
    case: tuple[Arrival, Head | HeadProblem],
) -> None:
    at, head = case
    record = drive(head, at).opening.record

    assert record.verdict in {"attach", "pass_through", "refuse"}
    assert record.reason in {reason.value for reason in Reason}
    assert (record.verdict == "attach") <= bool(record.credential and record.lease_id and record.policy)
    assert (record.host, record.port, record.pod_name) == (at.name, at.port, WHO.pod_name)


@given(cases)
def test_an_engine_that_is_left_alone_at_its_lease_forwards_nothing(
    case: tuple[Arrival, Head | HeadProblem],
) -> None:
    at, head = case
    steps = open_request(POD, at, head, NOON, "request-1")
    try:
        next(steps)
    except StopIteration as end:
        assert not (isinstance(end.value, Forward) and end.value.attached)  # noqa: PT017 - a return value
    else:
        steps.close()  # the client went away: there is no opening


def test_the_generated_heads_end_in_many_ways() -> None:
    """Else the laws above would say little."""
    met: set[str] = set()

    @settings(max_examples=300)
    @given(cases, st.sampled_from((lease_of, lease_of, lease_of, broken, none)))
    def collect(case: tuple[Arrival, Head | HeadProblem], answer: object) -> None:
        at, head = case
        met.add(drive(head, at, answer=answer).opening.record.reason)  # type: ignore[arg-type]

    collect()
    assert met >= {"granted", "ungoverned_host", "would_refuse", "credential_unusable", "malformed_request"}
    assert met >= {"name_mismatch", "endpoint_token", "ambiguous_path", "query_auth_present"}
