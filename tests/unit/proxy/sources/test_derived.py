"""Against the stand-ins of S3 Express and ECR, which verify signatures as the real ones do."""

from datetime import timedelta
from typing import Any, Final

import pytest

from proxy.aws.ecr import endpoint_host
from proxy.core.aws_sources import AwsStatic
from proxy.core.credentials import Derivation, Derived, ExpressSession, RegistryToken
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.core.structs import replace
from proxy.sources.derived import acquire
from proxy.sources.steps import Acquired, Failed, HttpReply, Occasion, StepFailed
from tests.canary import Canary
from tests.source_world import NOON, OCCASION, Request, World
from tests.stand_ins.aws_ecr import Ecr
from tests.stand_ins.aws_express import Express
from tests.stand_ins.aws_signatures import Keys

BUCKET: Final = "data--euc1-az1--x-s3"
HOST: Final = f"{BUCKET}.s3express-euc1-az1.eu-central-1.amazonaws.com"
READS: Final = ExpressSession(HOST, "eu-central-1", read_only=True)
WRITES: Final = replace(READS, read_only=False)
TOKEN: Final = RegistryToken("eu-central-1")
STATIC: Final = Keys("example-static", "a secret/of+40")
TEMPORARY: Final = Keys("example-session", "another secret", "a-session-token")
CALLERS: Final = {keys.access_key_id: keys for keys in (STATIC, TEMPORARY)}
BOTH: Final = ("ReadOnly", "ReadWrite")


def occasion(keys: Keys = TEMPORARY, **changed: Any) -> Occasion:
    base = {
        Part.ACCESS_KEY_ID: Secret(keys.access_key_id.encode()),
        Part.SECRET_ACCESS_KEY: Secret(keys.secret_access_key.encode()),
    }
    if keys.session_token is not None:
        base[Part.SESSION_TOKEN] = Secret(keys.session_token.encode())
    return replace(OCCASION, **{"base": base, **changed})


def express(**changed: Any) -> Express:
    return Express(**{"callers": CALLERS, "may": dict.fromkeys(CALLERS, BOTH), **changed})


def ecr(**changed: Any) -> Ecr:
    return Ecr(**{"callers": CALLERS, "may": frozenset(CALLERS), **changed})


def made(what: Derivation, server: Express | Ecr, at: Occasion) -> tuple[Acquired, World]:
    world = World(server.answer)
    return world.acquired(acquire(Derived(AwsStatic("s"), what), at)), world


def failed(what: Derivation, server: Express | Ecr, at: Occasion | None = None) -> Failed:
    steps = acquire(Derived(AwsStatic("s"), what), at or occasion())
    return World(server.answer).failed(steps)


# --- sessions of directory buckets -------------------------------------------------------------------


@pytest.mark.parametrize("keys", [STATIC, TEMPORARY])
@pytest.mark.parametrize(("what", "mode"), [(READS, "ReadOnly"), (WRITES, "ReadWrite")])
def test_a_session_is_opened_for_what_the_request_does(keys: Keys, what: ExpressSession, mode: str) -> None:
    server = express()
    outcome, _ = made(what, server, occasion(keys))
    [session] = server.sessions
    assert (session.bucket, session.mode) == (BUCKET, mode)
    assert outcome == Acquired(
        {
            Part.ACCESS_KEY_ID: Secret(session.keys.access_key_id.encode()),
            Part.SECRET_ACCESS_KEY: Secret(session.keys.secret_access_key.encode()),
            Part.SESSION_TOKEN: Secret((session.keys.session_token or "").encode()),
        },
        NOON + timedelta(minutes=5),
    )


def test_the_buckets_own_host_is_asked_once() -> None:
    _, world = made(READS, express(), occasion())
    [call] = world.calls
    assert (call.method, call.url) == ("GET", f"https://{HOST}/?session")
    assert "host" not in call.headers


def test_who_may_not_open_a_session_is_told_which_right_is_missing() -> None:
    reads = express(may={TEMPORARY.access_key_id: ("ReadOnly",)})
    assert made(READS, reads, occasion())
    found = failed(WRITES, reads)
    assert found.message == (
        f"CreateSession at {HOST} answered 403 AccessDenied: Access Denied: check that the role or user may "
        "s3express:CreateSession on the directory bucket, and that no condition on s3express:SessionMode "
        "excludes ReadWrite"
    )
    assert not found.base_spent


def test_a_bucket_that_is_not_there_is_told() -> None:
    assert "NoSuchBucket: The specified bucket" in failed(READS, express(buckets=())).message


@pytest.mark.parametrize(
    ("changed", "at", "shown"),
    [
        ({"callers": {}}, occasion(), "does not know the access key"),
        ({}, occasion(replace(TEMPORARY, session_token="of somebody else")), "is expired or revoked"),
        (
            {"fails": (400, "ExpiredToken", "The provided token has expired.")},
            occasion(),
            "ExpiredToken: The provided token has expired: the AWS credential",
        ),
    ],
)
def test_keys_that_are_worth_nothing_any_more_are_said_to_be(changed: Any, at: Occasion, shown: str) -> None:
    found = failed(READS, express(**changed), at)
    assert shown in found.message
    assert found.base_spent


def test_a_wrong_clock_is_not_the_keys_fault() -> None:
    late = failed(READS, express(), occasion(now=NOON + timedelta(hours=1)))
    assert "RequestTimeTooSkewed" in late.message
    assert late.message.endswith("the clock of this node is wrong")
    assert not late.base_spent
    wrong = failed(READS, express(), occasion(replace(TEMPORARY, secret_access_key="x")))
    assert "SignatureDoesNotMatch" in wrong.message
    assert not wrong.base_spent


# --- tokens of registries ----------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [STATIC, TEMPORARY])
def test_a_token_is_a_user_and_a_password_for_twelve_hours(keys: Keys) -> None:
    server = ecr()
    outcome, world = made(TOKEN, server, occasion(keys))
    assert outcome == Acquired(
        {Part.USERNAME: Secret(b"AWS"), Part.PASSWORD: Secret(server.passwords[0].encode())},
        NOON + timedelta(hours=12),
    )
    assert world.calls[0].url == f"https://{endpoint_host('eu-central-1')}/"


def test_another_partition_is_asked_at_its_own_api() -> None:
    china = ecr(region="cn-north-1", suffix="amazonaws.com.cn")
    assert made(RegistryToken("cn-north-1"), china, occasion())


def test_who_may_have_no_token_is_told_which_right_is_missing() -> None:
    found = failed(TOKEN, ecr(may=frozenset()))
    assert found.message == (
        "GetAuthorizationToken at api.ecr.eu-central-1.amazonaws.com answered 400 AccessDeniedException: "
        "User is not authorized to perform: ecr:GetAuthorizationToken on resource: *: check that the role or "
        "user may ecr:GetAuthorizationToken on `*`"
    )


def test_a_key_that_ecr_does_not_know_is_spent() -> None:
    found = failed(TOKEN, ecr(callers={}))
    assert "UnrecognizedClientException" in found.message
    assert found.base_spent


# --- what goes wrong anywhere ------------------------------------------------------------------------


@pytest.mark.parametrize("what", [READS, TOKEN])
def test_without_keys_nobody_is_asked(what: Derivation) -> None:
    kind = Derived(AwsStatic("s"), what)
    assert World().failed(acquire(kind, OCCASION)) == Failed("its source gives no AWS access key")
    half = replace(OCCASION, base={Part.ACCESS_KEY_ID: Secret(b"x")})
    assert World().failed(acquire(kind, half)) == Failed("its source gives no AWS access key")


@pytest.mark.parametrize("what", [READS, TOKEN])
def test_what_cannot_be_asked_says_so(what: Derivation) -> None:
    nobody = World(lambda _request: StepFailed("it does not answer"))
    found = nobody.failed(acquire(Derived(AwsStatic("s"), what), occasion()))
    assert found.message.endswith("cannot be asked: it does not answer")


@pytest.mark.parametrize("what", [READS, TOKEN])
@pytest.mark.parametrize(
    ("status", "shown"), [(200, "answered 200 with no "), (502, "502, without an error that AWS documents")]
)
def test_an_answer_that_is_none_is_told(what: Derivation, status: int, shown: str) -> None:
    def odd(_request: Request) -> HttpReply:
        return HttpReply(status, {"retry-after": "7"}, b"<html>")

    found = World(odd).failed(acquire(Derived(AwsStatic("s"), what), occasion()))
    assert shown in found.message
    assert found.retry_after == (7 if status == 502 else None)


@pytest.mark.parametrize("server", [express(fails=(503, "SlowDown", "")), ecr(fails=(400, "Odd", "is odd."))])
def test_an_error_is_shown_with_what_is_known_of_it(server: Express | Ecr) -> None:
    found = failed(READS if isinstance(server, Express) else TOKEN, server)
    shown = "503 SlowDown: it will be asked again" if isinstance(server, Express) else "400 Odd: is odd"
    assert found.message.endswith(shown)


def test_no_secret_stands_in_a_failure(canary: Canary) -> None:
    keys = Keys("example-id", canary.secret("secret key"), canary.secret("session token"))
    for what, server in ((READS, express()), (TOKEN, ecr())):
        found = failed(what, server, occasion(keys))
        assert keys.secret_access_key not in repr(found)
        assert str(keys.session_token) not in repr(found)
        assert keys.secret_access_key not in repr(occasion(keys))
