from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.policy import Mode
from proxy.core.settings import Capture, Endpoint, LogFormat, LogLevel, ProxySettings
from proxy.documents import settings_table as table
from proxy.documents.redirect_settings import read_redirect
from proxy.documents.setting_values import SettingProblem
from proxy.documents.settings import REDIRECT, own_variables, read_settings, settings_page

POD = {"PODKEY_NAMESPACE": "ml", "PODKEY_SERVICE_ACCOUNT": "trainer"}


def problems(**environment: str) -> list[tuple[str, str]]:
    result = read_settings({**POD, **environment})
    return [] if isinstance(result, ProxySettings) else [(p.name, p.message) for p in result]


def settings(**environment: str) -> ProxySettings:
    result = read_settings({**POD, **environment})
    assert isinstance(result, ProxySettings), result
    return result


def test_the_pods_name_is_all_that_must_be_set() -> None:
    got = settings()

    assert (got.pod.namespace, got.pod.service_account) == ("ml", "trainer")
    assert got.listeners.capture == {Capture.TRANSPARENT}
    assert got.listeners.admin_address == "127.0.0.1"
    assert got.listeners.fast_lane
    assert got.timeouts.drain == 25
    assert (got.bodies.hashed_limit, got.bodies.held_limit) == (16 << 20, 64 << 20)
    assert got.trust.ca_lifetime == timedelta(days=90)
    assert got.output.audit_file is None
    assert got.folders.placeholders_file is None
    assert not got.pod.wants_gpu
    # Who it is is asked of the cluster, as a pod sees it.
    assert (got.identity.audience, got.identity.issuer, got.identity.jwks_file) == ("podkey", "", None)
    assert got.identity.discovery_url == "https://kubernetes.default.svc"
    assert got.identity.discovery_ca_file == "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
    assert got.identity.discovery_token_file == "/var/run/podkey/tokens/kubernetes"


def test_every_variable_arrives_in_its_field() -> None:
    got = settings(
        PODKEY_CAPTURE="explicit,endpoint",
        PODKEY_TRANSPARENT_PORT="20001",
        PODKEY_EXPLICIT_PORT="20002",
        PODKEY_ENDPOINTS="20003=openai",
        PODKEY_ADMIN_ADDRESS="::",
        PODKEY_ADMIN_PORT="20004",
        PODKEY_MAX_CONNECTIONS="7",
        PODKEY_FAST_LANE="false",
        PODKEY_POLICY_DIR="/p",
        PODKEY_SECRETS_DIR="/s",
        PODKEY_TOKENS_DIR="/t",
        PODKEY_STATE_DIR="/state",
        PODKEY_TRUST_DIR="/trust",
        PODKEY_PLACEHOLDERS_FILE="/placeholders",
        PODKEY_UPSTREAM_CA_FILES="/a.pem:/b.pem",
        PODKEY_ROOTS_FILE="/roots.pem",
        PODKEY_EGRESS_PROXY="https://proxy.example.com:3129",
        PODKEY_EGRESS_PROXY_AUTH_FILE="/proxy-user",
        PODKEY_EGRESS_NO_PROXY=".svc,10.0.0.0/8",
        PODKEY_CA_LIFETIME="2d",
        PODKEY_LEAF_LIFETIME="1h",
        PODKEY_POD_NAME="train-0",
        PODKEY_POD_UID="0f3d-11",
        PODKEY_NODE_NAME="gpu-7.internal",
        PODKEY_CLUSTER="prod",
        PODKEY_LABELS_FILE="/labels",
        PODKEY_OWNER_FILE="/owner",
        PODKEY_IMAGES_FILE="/images",
        PODKEY_GPU="true",
        PODKEY_MODE="observe",
        PODKEY_ENDPOINT_TOKEN="0123456789abcdef" * 2,
        PODKEY_AUDIENCE="https://podkey.example.com",
        PODKEY_ISSUER="https://issuer.example.com",
        PODKEY_JWKS_FILE="/jwks",
        PODKEY_DISCOVERY_URL="https://discovery.example.com/id",
        PODKEY_DISCOVERY_CA_FILE="-",
        PODKEY_DISCOVERY_TOKEN_FILE="-",
        PODKEY_DRAIN_TIMEOUT="1m",
        PODKEY_IDLE_TIMEOUT="2m",
        PODKEY_HEADER_TIMEOUT="3",
        PODKEY_CONNECT_TIMEOUT="4s",
        PODKEY_REQUEST_TIMEOUT="5h",
        PODKEY_HASHED_BODY_LIMIT="2Mi",
        PODKEY_HELD_BODIES_LIMIT="3145728",
        PODKEY_LOG_LEVEL="debug",
        PODKEY_LOG_FORMAT="console",
        PODKEY_AUDIT_FILE="/audit",
    )
    defaults = settings()

    assert got.listeners.endpoints == (Endpoint(20003, "openai"),)
    assert (got.pod.mode, defaults.pod.mode) == (Mode.OBSERVE, Mode.ENFORCE)
    assert got.listeners.endpoint_token not in repr(got)
    assert got.trust.upstream_ca_files == ("/a.pem", "/b.pem")
    assert (got.timeouts.drain, got.timeouts.idle, got.timeouts.header, got.timeouts.connect) == (
        60,
        120,
        3,
        4,
    )
    assert (got.timeouts.request, defaults.timeouts.request) == (5 * 3600, None)
    assert (got.bodies.hashed_limit, got.bodies.held_limit) == (2 << 20, 3 << 20)
    assert (got.output.log_level, got.output.log_format) == (LogLevel.DEBUG, LogFormat.CONSOLE)
    # Whatever a variable could change was changed: none is read into another's field, or forgotten.
    for group in ProxySettings.__slots__:
        ours, theirs = getattr(got, group), getattr(defaults, group)
        same = {name for name in ours.__slots__ if getattr(ours, name) == getattr(theirs, name)}
        assert same <= {"namespace", "service_account"}


def test_credentials_for_a_proxy_that_is_not_set_are_a_problem() -> None:
    [problem] = problems(PODKEY_EGRESS_PROXY_AUTH_FILE="/proxy-user")

    assert problem == ("PODKEY_EGRESS_PROXY_AUTH_FILE", "no proxy is set for these credentials")
    assert [name for name, _ in problems(PODKEY_EGRESS_PROXY="x", PODKEY_EGRESS_PROXY_AUTH_FILE="/f")] == [
        "PODKEY_EGRESS_PROXY"
    ]


def test_one_body_is_no_larger_than_all_of_them() -> None:
    assert problems(PODKEY_HASHED_BODY_LIMIT="32Mi", PODKEY_HELD_BODIES_LIMIT="32Mi") == []
    [problem] = problems(PODKEY_HASHED_BODY_LIMIT="65Mi")
    assert problem == (
        "PODKEY_HELD_BODIES_LIMIT",
        "one body may be larger (PODKEY_HASHED_BODY_LIMIT) than all of them together",
    )
    # A value that is wrong by itself is reported as that.
    [(name, _)] = problems(PODKEY_HASHED_BODY_LIMIT="512Mi")
    assert name == "PODKEY_HASHED_BODY_LIMIT"


def test_a_password_goes_to_no_proxy_in_clear_text() -> None:
    given = {"PODKEY_EGRESS_PROXY_AUTH_FILE": "/proxy-user"}

    [(name, message)] = problems(**given, PODKEY_EGRESS_PROXY="http://proxy.example.com:3128")

    assert name == "PODKEY_EGRESS_PROXY_AUTH_FILE"
    assert "in clear text" in message
    assert problems(**given, PODKEY_EGRESS_PROXY="https://proxy.example.com:3129") == []


def test_a_file_of_keys_needs_the_name_of_their_issuer() -> None:
    named = ("PODKEY_ISSUER", "a file of keys does not say whose they are")

    assert problems(PODKEY_JWKS_FILE="/jwks.json") == [named]
    assert problems(PODKEY_JWKS_FILE="/jwks.json", PODKEY_ISSUER="https://issuer.example.com") == []
    # What is wrong by itself is told once.
    assert [name for name, _ in problems(PODKEY_JWKS_FILE="/jwks.json", PODKEY_ISSUER="a b")] == [
        "PODKEY_ISSUER"
    ]


def test_the_token_of_an_api_server_goes_to_nobody_whom_a_public_authority_vouches_for() -> None:
    public = {"PODKEY_DISCOVERY_URL": "https://oidc.example.com", "PODKEY_DISCOVERY_CA_FILE": "-"}

    assert [name for name, _ in problems(**public)] == ["PODKEY_DISCOVERY_TOKEN_FILE"]
    got = settings(**public, PODKEY_DISCOVERY_TOKEN_FILE="-").identity
    assert (got.discovery_ca_file, got.discovery_token_file) == (None, None)


def test_the_token_for_the_api_server_lies_beside_the_others_unless_it_is_named() -> None:
    beside = settings(PODKEY_TOKENS_DIR="/tokens").identity
    named = settings(PODKEY_TOKENS_DIR="/tokens", PODKEY_DISCOVERY_TOKEN_FILE="/elsewhere/token").identity

    assert beside.discovery_token_file == "/tokens/kubernetes"
    assert named.discovery_token_file == "/elsewhere/token"


def test_every_problem_is_reported_at_once() -> None:
    result = read_settings({"PODKEY_NAMSPACE": "ml", "PODKEY_GPU": "yes", "PODKEY_ADMIN_PORT": "15001"})

    assert result == (
        SettingProblem("PODKEY_NAMSPACE", "there is no such setting", "did you mean `PODKEY_NAMESPACE`?"),
        SettingProblem("PODKEY_NAMESPACE", "it is not set", "set it to a namespace"),
        SettingProblem("PODKEY_SERVICE_ACCOUNT", "it is not set", "set it to a service account's name"),
        SettingProblem("PODKEY_GPU", "`yes` is neither `true` nor `false`", "write `true` or `false`"),
        SettingProblem(
            "PODKEY_ADMIN_PORT",
            "port 15001 is given to PODKEY_TRANSPARENT_PORT and PODKEY_ADMIN_PORT",
            "give each listener a port of its own",
        ),
    )


def test_a_switch_for_verification_is_an_unknown_setting() -> None:
    assert problems(PODKEY_UPSTREAM_VERIFY="false") == [
        ("PODKEY_UPSTREAM_VERIFY", "there is no such setting")
    ]


def test_variables_of_the_redirect_and_of_others_are_none_of_our_business() -> None:
    redirect = dict.fromkeys(REDIRECT, "garbage")

    assert settings(**redirect, HOME="/", OPENAI_API_KEY="x") == settings()


@pytest.mark.parametrize("name", REDIRECT)
def test_the_page_names_the_redirects_true_defaults(name: str) -> None:
    assert read_redirect({name: REDIRECT[name][0]}) == read_redirect({})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PODKEY_SERVICE_HOST", "10.0.0.1"),
        ("PODKEY_SERVICE_PORT", "443"),
        ("PODKEY_SERVICE_PORT_HTTPS", "443"),
        ("PODKEY_PORT", "tcp://10.0.0.1:443"),
        ("PODKEY_PORT_443_TCP", "tcp://10.0.0.1:443"),
        ("PODKEY_PORT_443_TCP_PROTO", "tcp"),
        ("PODKEY_INJECTOR_SERVICE_HOST", "10.0.0.1"),
        ("PODKEY_INJECTOR_PORT_53_UDP_ADDR", "10.0.0.1"),
        ("PODKEY_ADMIN_PORT", "tcp://10.0.0.1:15020"),  # a Service named podkey-admin
    ],
)
def test_what_kubernetes_sets_for_a_service_is_left_alone(name: str, value: str) -> None:
    assert settings(**{name: value}) == settings()


def test_no_setting_of_ours_looks_like_a_service_of_kubernetes() -> None:
    ours = {setting.name: "1" for setting in table.SETTINGS} | dict.fromkeys(REDIRECT, "1")

    assert own_variables(ours) == ours


def test_a_mistyped_port_is_not_taken_for_a_service() -> None:
    assert problems(PODKEY_ADMNI_PORT="15021") == [("PODKEY_ADMNI_PORT", "there is no such setting")]


def test_endpoints_and_the_way_to_them_belong_together() -> None:
    listed, wanted = {"PODKEY_ENDPOINTS": "15101=openai"}, {"PODKEY_CAPTURE": "endpoint"}

    assert problems(**listed) == [("PODKEY_ENDPOINTS", "the endpoints that it lists are not served")]
    assert problems(**wanted) == [("PODKEY_ENDPOINTS", "it lists no endpoint")]
    assert problems(**listed, **wanted) == []


def test_no_two_listeners_share_a_port() -> None:
    endpoints = {"PODKEY_CAPTURE": "endpoint", "PODKEY_ENDPOINTS": "15101=openai 15101=anthropic"}

    assert problems(PODKEY_EXPLICIT_PORT="15001") == [
        ("PODKEY_EXPLICIT_PORT", "port 15001 is given to PODKEY_TRANSPARENT_PORT and PODKEY_EXPLICIT_PORT")
    ]
    assert problems(**endpoints) == [
        ("PODKEY_ENDPOINTS", "port 15101 is given to PODKEY_ENDPOINTS and PODKEY_ENDPOINTS")
    ]


@pytest.mark.parametrize("name", ["PODKEY_STATE_DIR", "PODKEY_SECRETS_DIR", "PODKEY_TOKENS_DIR"])
def test_keys_do_not_lie_where_the_application_reads(name: str) -> None:
    exposed = [(name, "it lies in PODKEY_TRUST_DIR, which the application reads")]

    assert problems(**{name: "/etc/podkey/ca"}) == exposed
    assert problems(**{name: "/etc/podkey/ca/../ca/./keys"}) == exposed
    assert problems(**{name: "/etc/podkey/ca-keys"}) == []


def test_a_value_that_is_wrong_by_itself_is_reported_once() -> None:
    broken = {"PODKEY_CAPTURE": "x", "PODKEY_ENDPOINTS": "x", "PODKEY_STATE_DIR": "/" * 5000}
    names = [name for name, _ in problems(**broken, PODKEY_TRANSPARENT_PORT="x")]

    assert sorted(names) == [
        "PODKEY_CAPTURE",
        "PODKEY_ENDPOINTS",
        "PODKEY_STATE_DIR",
        "PODKEY_TRANSPARENT_PORT",
    ]


@given(st.dictionaries(st.sampled_from([s.name for s in table.SETTINGS]), st.text(max_size=30)))
def test_reading_is_total_and_its_messages_never_repeat_a_long_value(environment: dict[str, str]) -> None:
    result = read_settings(environment)

    if not isinstance(result, ProxySettings):
        texts = [f"{problem}{problem.fix}" for problem in result]
        assert all(text.isprintable() for text in texts)
        for value in environment.values():
            assert len(value) < 14 or not any(value in text for text in texts)


def test_the_page_shows_every_variable_with_its_default() -> None:
    page = "\n".join(settings_page())

    for name in (*(setting.name for setting in table.SETTINGS), *REDIRECT):
        assert f"| `{name}` |" in page
    assert "| `PODKEY_NAMESPACE` | **required** |" in page
    assert "| `PODKEY_DRAIN_TIMEOUT` | `25s` | a time from 0s to 1h |" in page
    assert "| `PODKEY_ROOTS_FILE` |  |" in page


def test_the_page_in_the_docs_is_current() -> None:
    page = (Path(__file__).parents[4] / "docs/settings.md").read_text()

    assert page.endswith("\n".join(("", *settings_page(), "")))
