import dataclasses
import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.core.structs import replace
from proxy.core.vault_source import (
    KV_MAX_AGE,
    VaultAuth,
    VaultDynamic,
    VaultKv2,
    VaultMethod,
    VaultSecret,
)
from proxy.sources.steps import Acquired, Failed, HttpCall, HttpReply, StepFailed
from proxy.sources.table import renewal_of, revocation_of, steps_of
from proxy.sources.vault import acquire, renew, revoke
from tests.document_strategies import VAULT_PATHS
from tests.pod_tokens import TokenIssuer
from tests.source_world import NOON, OCCASION, Request, World, json_reply
from tests.stand_ins.vault import HOUR, Engine, Role, Vault, Version

CLUSTER = TokenIssuer()
KV = VaultKv2("secret", "teams/ml/api", ((Part.TOKEN, "api_key"),))
DATABASE = VaultDynamic("database/creds/trainer", ((Part.PASSWORD, "password"), (Part.USERNAME, "username")))


def kind(
    read: VaultKv2 | VaultDynamic = KV,
    method: VaultMethod = VaultMethod.KUBERNETES,
    namespace: str = "",
    **auth: str,
) -> VaultSecret:
    how = replace(VaultAuth(method, method.value, "trainer", "vault"), **auth)
    return VaultSecret("https://vault.example.com:8200", how, read, namespace)


@dataclasses.dataclass
class Scene:
    vault: Vault
    world: World

    @property
    def role(self) -> Role:
        return self.vault.roles["kubernetes", "trainer"]

    def tells(self, source: VaultSecret) -> str:
        return self.world.failed(acquire(source, OCCASION)).message

    def gives(self, source: VaultSecret) -> Acquired:
        return self.world.acquired(acquire(source, OCCASION))


@pytest.fixture
def scene() -> Scene:
    """A Vault with a secret, a database, and a role that may read both in either auth method."""
    vault = Vault(CLUSTER, NOON)
    policy = {
        "secret/data/teams/ml/*": {"read"},
        "database/creds/trainer": {"read"},
        "pki/issue/pod": {"update"},
    }
    vault.roles["kubernetes", "trainer"] = Role(policy=policy)
    claims = {"/kubernetes.io/namespace": "ml", "/kubernetes.io/serviceaccount/name": "trainer"}
    vault.roles["jwt", "trainer"] = Role(policy=policy, claims=claims)
    vault.kv["secret", "teams/ml/api"] = [Version({"api_key": "canary-1"}), Version({"api_key": "canary-2"})]
    vault.engines["database/creds/trainer"] = Engine(
        lambda _: {"username": f"v-{len(vault.leases)}", "password": "canary-password"}
    )
    vault.engines["pki/issue/pod"] = Engine(
        lambda asked: {"certificate": f"for {asked['common_name']}"}, ttl=None, writes=True
    )
    return Scene(vault, World(vault.answer, {"vault": CLUSTER.token(NOON, "vault")}))


# --- reading ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", list(VaultMethod))
def test_the_latest_version_of_a_secret_is_read_as_the_pod(scene: Scene, method: VaultMethod) -> None:
    acquired = scene.gives(kind(method=method))

    assert acquired == Acquired({Part.TOKEN: Secret(b"canary-2")}, KV_MAX_AGE)
    assert [(call.method, call.path) for call in scene.world.calls] == [
        ("POST", f"/v1/auth/{method.value}/login"),
        ("GET", "/v1/secret/data/teams/ml/api"),
        ("POST", "/v1/auth/token/revoke-self"),
    ]


def test_a_version_and_an_age_can_be_named(scene: Scene) -> None:
    read = replace(KV, version=1, max_age=timedelta(hours=2))
    assert scene.gives(kind(read)) == Acquired({Part.TOKEN: Secret(b"canary-1")}, timedelta(hours=2))


def test_a_secret_that_was_read_leaves_no_token_behind(scene: Scene) -> None:
    scene.gives(kind())
    assert scene.vault.tokens == {}


def test_a_secret_counts_although_the_token_cannot_be_revoked(scene: Scene) -> None:
    scene.role.default_policy = False
    assert scene.gives(kind()).parts == {Part.TOKEN: Secret(b"canary-2")}
    assert len(scene.vault.tokens) == 1


def test_a_dynamic_secret_keeps_its_lease_and_the_token_that_it_hangs_on(scene: Scene) -> None:
    acquired = scene.gives(kind(DATABASE))

    assert acquired.parts == {Part.USERNAME: Secret(b"v-0"), Part.PASSWORD: Secret(b"canary-password")}
    assert acquired.expires == HOUR
    assert acquired.renewable
    assert acquired.handle["token"].reveal().decode() in scene.vault.tokens
    assert acquired.handle["lease_id"].reveal().decode() in scene.vault.leases


def test_a_lease_lasts_no_longer_than_the_token_that_it_hangs_on(scene: Scene) -> None:
    scene.role.ttl = timedelta(minutes=10)
    assert scene.gives(kind(DATABASE)).expires == timedelta(minutes=10)


def test_what_hangs_on_a_batch_token_is_not_renewed(scene: Scene) -> None:
    scene.role.batch = True
    assert not scene.gives(kind(DATABASE)).renewable


def test_parameters_are_written_as_json(scene: Scene) -> None:
    read = VaultDynamic("pki/issue/pod", ((Part.TOKEN, "certificate"),), (("common_name", "train-0"),))
    assert scene.gives(kind(read)) == Acquired({Part.TOKEN: Secret(b"for train-0")}, KV_MAX_AGE)
    assert [call.method for call in scene.world.calls] == ["POST", "POST", "POST"]
    assert scene.vault.tokens == {}, "without a lease nothing hangs on the token"


def test_a_namespace_and_a_mount_of_several_segments_are_named(scene: Scene) -> None:
    scene.vault.namespace = "admin/ml"
    scene.vault.methods["clusters/gpu"] = "kubernetes"
    scene.vault.roles["clusters/gpu", "trainer"] = scene.role
    assert scene.gives(kind(namespace="admin/ml", mount="clusters/gpu")).parts


def test_every_call_says_that_it_is_meant_for_vault(scene: Scene) -> None:
    scene.gives(kind())
    assert {call.headers["x-vault-request"] for call in scene.world.calls} == {"true"}


# --- refusals, each by the real one's words -----------------------------------------------------------


def test_the_pod_has_no_token_for_vault(scene: Scene) -> None:
    assert scene.tells(kind(audience="other")) == (
        "the pod's token for Vault cannot be read: no token for the audience other is mounted"
    )


@pytest.mark.parametrize("token", [b"", b"two lines\n", b"\xff\xfe"])
def test_what_is_no_token_is_not_sent(scene: Scene, token: bytes) -> None:
    scene.world.tokens = {"vault": token}
    assert scene.tells(kind()) == "the pod's token for the audience `vault` is no token"
    assert scene.world.calls == []


KUBERNETES_REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"names": ["other"]}, "service account name not authorized: add `trainer` to the role's bound_service"),
    ({"namespaces": ["other"]}, "namespace not authorized: add `ml` to the role's bound_service_account_nam"),
    ({"audience": "api"}, "any expected audience: let the role's audience name `vault`"),
]


@pytest.mark.parametrize(("change", "message"), KUBERNETES_REFUSALS)
def test_a_role_that_does_not_fit_is_told_with_the_field_to_correct(
    scene: Scene, change: dict[str, Any], message: str
) -> None:
    scene.vault.roles["kubernetes", "trainer"] = replace(scene.role, **change)
    told = scene.tells(kind())
    assert told.startswith("Vault's login with the role `trainer` answered 403: ")
    assert message in told


JWT_REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"audience": "api"}, "any expected audience: let the role's bound_audiences name `vault`"),
    ({"audience": ""}, "no audiences bound to the role: let the role's bound_audiences name `vault`"),
    (
        {"claims": {"/kubernetes.io/namespace": "other"}},
        "associated bound claim values: let the role's bound_claims fit the service account `ml/trainer`",
    ),
    ({"claims": {"sub": "x"}}, "let the role's bound_claims fit the service account `ml/trainer`"),
]


@pytest.mark.parametrize(("change", "message"), JWT_REFUSALS)
def test_a_jwt_role_that_does_not_fit_is_told_with_the_field_to_correct(
    scene: Scene, change: dict[str, Any], message: str
) -> None:
    scene.vault.roles["jwt", "trainer"] = replace(scene.vault.roles["jwt", "trainer"], **change)
    told = scene.tells(kind(method=VaultMethod.JWT))
    assert told.startswith("Vault's login with the role `trainer` answered 400: ")
    assert message in told


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            VaultMethod.KUBERNETES,
            'invalid role name "other": create the role in `auth/kubernetes`, or correct',
        ),
        (
            VaultMethod.JWT,
            'role "other" could not be found: create the role in `auth/jwt`, or correct `role`',
        ),
    ],
)
def test_a_role_that_is_not_there_is_told(scene: Scene, method: VaultMethod, message: str) -> None:
    assert message in scene.tells(kind(method=method, role="other"))


def test_another_clusters_token_is_told(scene: Scene) -> None:
    scene.world.tokens = {"vault": TokenIssuer().token(NOON, "vault")}
    assert scene.tells(kind()).endswith(
        "answered 403: permission denied: check that an auth method is at `auth/kubernetes`, and that the "
        "cluster lets Vault review tokens (kubernetes_host, kubernetes_ca_cert, the cluster role "
        "system:auth-delegator)"
    )
    assert scene.tells(kind(method=VaultMethod.JWT)).endswith(
        "validated the token signature: let `auth/jwt/config` name the keys of this cluster"
    )


def test_a_token_that_has_expired_by_vaults_clock_is_told(scene: Scene) -> None:
    scene.vault.now += 2 * HOUR
    assert scene.tells(kind()).startswith("Vault's login with the role `trainer` answered 403")
    assert scene.tells(kind(method=VaultMethod.JWT)).endswith("Vault's clock and the cluster's differ")


def test_a_mount_or_namespace_that_is_not_there_is_told(scene: Scene) -> None:
    fix = ": enable the auth method at `auth/k8s`, or correct `mount` and `namespace`"
    assert scene.tells(kind(mount="k8s")).endswith(f"route entry not found{fix}")
    assert scene.tells(kind(mount="k8s", namespace="other")).endswith(fix)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (
            replace(KV, path="other"),
            "permission denied: let a policy of the role `trainer` allow `read` there, or correct the path",
        ),
        (
            replace(KV, path="teams/ml/other"),
            "Vault's read of `secret/data/teams/ml/other` answered 404: there is no such secret, or no",
        ),
        (replace(KV, version=7), "answered 404: there is no such secret"),
        (
            replace(KV, fields=((Part.TOKEN, "key"),)),
            "Vault's answer for `secret/data/teams/ml/api` lacks the key `key`: correct `fields`",
        ),
        (
            VaultDynamic("pki/issue/pod", DATABASE.fields),
            "let a policy of the role `trainer` allow `read` there",
        ),
        (
            VaultDynamic("database/creds/trainer", DATABASE.fields, (("a", "b"),)),
            "let a policy of the role `trainer` allow `update` there",
        ),
    ],
)
def test_a_read_that_is_refused_is_told_with_its_path(
    scene: Scene, read: VaultKv2 | VaultDynamic, message: str
) -> None:
    assert message in scene.tells(kind(read))
    assert scene.vault.tokens == {}, "a login that led to nothing is revoked"


def test_a_method_that_the_path_does_not_take_is_told(scene: Scene) -> None:
    scene.role.policy = {"*": {"read", "update"}}
    told = scene.tells(kind(VaultDynamic("pki/issue/pod", ((Part.TOKEN, "certificate"),))))
    assert told.endswith("unsupported operation: this path wants `parameters`")
    told = scene.tells(kind(replace(DATABASE, parameters=(("a", "b"),))))
    assert told.endswith("unsupported operation: this path takes no `parameters`")
    told = scene.tells(kind(VaultDynamic("aws/creds/none", DATABASE.fields)))
    assert told.endswith("the key-value engine, version 2, is read by `kv2`")


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (
            Version({}, deleted="2026-03-04T10:00:00Z"),
            "version 1 was deleted at 2026-03-04T10:00:00Z: undelete it, or write a new version",
        ),
        (Version({}, destroyed=True), "version 1 was destroyed: write a new version"),
    ],
)
def test_a_version_that_is_no_more_is_told(scene: Scene, version: Version, message: str) -> None:
    scene.vault.kv["secret", "teams/ml/api"] = [version]
    assert scene.tells(kind()) == f"Vault's read of `secret/data/teams/ml/api` answered 404: {message}"


def test_a_sealed_vault_is_told(scene: Scene) -> None:
    scene.vault.sealed = True
    assert scene.tells(kind()).endswith("503: Vault is sealed: Vault is sealed or in maintenance: unseal it")


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (307, "standby"),
        (412, "asked again"),
        (429, "quota"),
        (472, "recovery"),
        (473, "standby"),
        (502, "log"),
    ],
)
def test_what_the_status_alone_means_is_told(status: int, hint: str) -> None:
    world = World(lambda _: HttpReply(status, {"retry-after": "7"}, b"<html>"), {"vault": b"jwt"})
    failed = world.failed(acquire(kind(), OCCASION))
    assert failed.message.startswith(f"Vault's login with the role `trainer` answered {status}: ")
    assert hint in failed.message
    assert failed.retry_after == 7.0


def test_a_status_without_a_meaning_is_told_plainly() -> None:
    world = World(lambda _: HttpReply(418, {}, b""), {"vault": b"jwt"})
    assert (
        world.failed(acquire(kind(), OCCASION)).message
        == "Vault's login with the role `trainer` answered 418"
    )


def test_what_cannot_be_reached_is_told(scene: Scene) -> None:
    def server(request: Request) -> HttpReply | StepFailed:
        return scene.vault.answer(request) if request.path.endswith("login") else StepFailed("timed out")

    scene.world.http = server
    assert scene.tells(kind()) == "Vault could not be asked for `secret/data/teams/ml/api`: timed out"
    scene.world.http = lambda _: StepFailed("no route")
    assert scene.tells(kind()) == "Vault could not be asked for a login: no route"


def test_a_lease_whose_secret_cannot_be_used_is_revoked_at_once(scene: Scene) -> None:
    read = VaultDynamic("database/creds/trainer", ((Part.TOKEN, "token"),))
    assert scene.tells(kind(read)).endswith("lacks the key `token`: correct `fields`")
    assert not scene.vault.accepts(username="v-0")


# --- the life of a lease ------------------------------------------------------------------------------


def test_a_lease_is_renewed_until_its_end_is_near_and_then_acquired_anew(scene: Scene) -> None:
    """Refreshed at three quarters of its life, as the driver would."""
    source = kind(DATABASE)
    acquired = scene.gives(source)
    renewals = 0
    while True:
        scene.vault.pass_time(timedelta(minutes=45))
        assert scene.vault.accepts(username="v-0"), "what is handed out still counts"
        steps = renewal_of(source, acquired, OCCASION)
        assert steps is not None
        outcome = scene.world.drive(steps)
        if isinstance(outcome, Failed):
            break
        assert outcome == acquired, "the same parts, the same span"
        acquired, renewals = outcome, renewals + 1

    assert renewals == 4
    assert outcome.message == (
        "Vault's renewal of the lease lasts 900 s where 3600 s were asked for: its `max_ttl` is near"
    )
    scene.world.tokens = {"vault": CLUSTER.token(scene.vault.now, "vault")}  # the kubelet rotated it
    assert scene.gives(source).parts[Part.USERNAME] == Secret(b"v-1")
    scene.vault.pass_time(timedelta(minutes=16))
    assert not scene.vault.accepts(username="v-0")
    assert scene.vault.accepts(username="v-1")


def test_a_token_that_ends_takes_the_lease_with_it_and_is_not_renewed_past_its_end(scene: Scene) -> None:
    scene.role.max_ttl = timedelta(minutes=90)
    source = kind(DATABASE)
    acquired = scene.gives(source)
    scene.vault.pass_time(timedelta(minutes=45))
    assert scene.world.failed(renew(source, acquired, OCCASION)).message == (
        "Vault's renewal of the login's token lasts 2700 s where 3600 s were asked for: its `max_ttl` is near"
    )
    scene.vault.pass_time(timedelta(minutes=45))
    assert not scene.vault.accepts(username="v-0")


def test_a_renewal_that_is_refused_says_why(scene: Scene) -> None:
    source = kind(DATABASE)
    acquired = scene.gives(source)
    scene.vault.leases.clear()
    assert scene.world.failed(renew(source, acquired, OCCASION)).message == (
        "Vault's renewal of the lease answered 400: lease not found"
    )
    scene.vault.pass_time(2 * HOUR)
    assert scene.world.failed(renew(source, acquired, OCCASION)).message == (
        "Vault's renewal of the login's token answered 403: 1 error occurred: * permission denied: the token "
        "has ended, or the role's policies lack `default`"
    )
    scene.world.http = lambda _: StepFailed("timed out")
    assert scene.world.failed(renew(source, acquired, OCCASION)).message == (
        "Vault could not be asked to renew the login's token: timed out"
    )


@pytest.mark.parametrize(
    "change", [{"expires": NOON}, {"expires": None}, {"handle": {}}, {"handle": {"token": Secret(b"x")}}]
)
def test_what_has_no_lease_is_not_renewed(change: dict[str, Any]) -> None:
    handle = {"token": Secret(b"t"), "lease_id": Secret(b"l")}
    held = replace(Acquired({}, HOUR, handle, renewable=True), **change)
    assert World().failed(renew(kind(DATABASE), held, OCCASION)).message == (
        "Vault's lease cannot be renewed: it is acquired anew"
    )


def test_revoking_ends_the_token_and_its_lease_in_one_call(scene: Scene) -> None:
    source = kind(DATABASE)
    acquired = scene.gives(source)
    scene.world.calls.clear()
    assert scene.world.drive(revoke(source, acquired, OCCASION)) is None
    assert [call.path for call in scene.world.calls] == ["/v1/auth/token/revoke-self"]
    assert not scene.vault.accepts(username="v-0")
    assert scene.vault.tokens == {}


def test_the_lease_of_a_batch_token_is_revoked_by_itself(scene: Scene) -> None:
    scene.role.batch = True
    scene.role.policy = {**scene.role.policy, "sys/leases/revoke": {"update"}}
    source = kind(DATABASE)
    assert scene.world.drive(revoke(source, scene.gives(source), OCCASION)) is None
    assert not scene.vault.accepts(username="v-0")


def test_a_revocation_that_is_refused_says_why(scene: Scene) -> None:
    source = kind(DATABASE)
    acquired = scene.gives(source)
    scene.role.default_policy = False
    assert scene.world.drive(revoke(source, acquired, OCCASION)) == Failed(
        "Vault's revocation answered 403: 1 error occurred: * permission denied: the token has ended, or the "
        "role's policies lack `default`"
    )
    scene.world.http = lambda _: StepFailed("timed out")
    assert scene.world.drive(revoke(source, acquired, OCCASION)) == Failed(
        "Vault could not be asked to revoke: timed out"
    )
    assert scene.world.drive(revoke(source, Acquired({}), OCCASION)) is None


def test_the_table_renews_and_revokes_what_has_a_lease(scene: Scene) -> None:
    read, leased = kind(), kind(DATABASE)
    plain = scene.world.acquired(steps_of(read, OCCASION))
    assert renewal_of(read, plain, OCCASION) is None
    assert revocation_of(read, plain, OCCASION) is None
    steps = revocation_of(leased, scene.gives(leased), OCCASION)
    assert steps is not None
    assert scene.world.drive(steps) is None


# --- whatever is answered, and wherever it leads -------------------------------------------------------

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_ENVELOPES = st.fixed_dictionaries(
    {},
    optional={
        "auth": _JSON | st.fixed_dictionaries({"client_token": st.text() | _JSON, "lease_duration": _JSON}),
        "data": _JSON | st.dictionaries(st.sampled_from(["data", "metadata", "api_key", "ttl"]), _JSON),
        "lease_id": _JSON,
        "lease_duration": _JSON,
        "renewable": _JSON,
        "wrap_info": _JSON,
        "errors": _JSON,
    },
)
_BODIES = st.binary(max_size=40) | _ENVELOPES.map(lambda found: json.dumps(found).encode())


@given(
    read=st.sampled_from([KV, VaultDynamic("a/b", ((Part.TOKEN, "api_key"),))]),
    login=st.none() | _BODIES,
    body=_BODIES,
    status=st.sampled_from([200, 204, 400, 403, 404, 500]),
)
def test_no_answer_makes_it_raise(
    read: VaultKv2 | VaultDynamic, login: bytes | None, body: bytes, status: int
) -> None:
    good = json.dumps({"auth": {"client_token": "canary", "lease_duration": 60, "renewable": True}}).encode()

    def server(request: Request) -> HttpReply:
        if request.path.endswith("/login"):
            return json_reply(200, good if login is None else login)
        return json_reply(status, body)

    world = World(server, {"vault": b"canary"})
    outcome = world.drive(acquire(kind(read), OCCASION))
    assert isinstance(outcome, (Acquired, Failed))
    assert "canary" not in repr(outcome)
    held = Acquired({}, HOUR, {"token": Secret(b"canary"), "lease_id": Secret(b"canary")}, renewable=True)
    for steps in (renew(kind(read), held, OCCASION), revoke(kind(read), held, OCCASION)):
        assert "canary" not in repr(world.drive(steps))


def called(source: VaultSecret) -> list[HttpCall]:
    """The calls themselves: the login's and the read's."""
    replies = {"auth": {"client_token": "t", "lease_duration": 60}}
    steps = acquire(source, OCCASION)
    next(steps)
    first = steps.send(Secret(b"jwt"))
    second = steps.send(json_reply(200, json.dumps(replies).encode()))
    assert isinstance(first, HttpCall)
    assert isinstance(second, HttpCall)
    return [first, second]


@given(VAULT_PATHS, VAULT_PATHS)
def test_a_path_stays_the_path_that_was_written(mount: str, path: str) -> None:
    read = VaultKv2(mount, path, KV.fields, version=3)
    url = called(kind(read))[1].url
    request = Request("GET", url, {}, b"")
    assert url.isascii()
    assert " " not in url
    assert request.query == {"version": "3"}
    assert request.path.count("/") == f"/v1/{mount}/data/{path}".count("/")


def test_tokens_travel_as_secrets() -> None:
    login, read = called(kind())
    assert isinstance(dict(read.headers)["X-Vault-Token"], Secret)
    assert login.body is not None
    assert json.loads(login.body.reveal()) == {"role": "trainer", "jwt": "jwt"}
    assert read.body is None
