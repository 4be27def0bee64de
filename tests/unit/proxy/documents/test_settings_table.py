import re

import pytest

from proxy.core.contract import ADMIN_PORT, POLICY_DIR, TRANSPARENT_PORT_VARIABLE
from proxy.core.policy import Mode
from proxy.core.settings import Capture, Endpoint
from proxy.documents import settings_table as table
from proxy.documents.problems import Fault
from proxy.documents.setting_kinds import PREFIX, Setting, flag_of


@pytest.mark.parametrize("setting", table.SETTINGS, ids=lambda setting: setting.name)
def test_every_row_is_complete(setting: Setting[object]) -> None:
    assert re.fullmatch(rf"{PREFIX}[A-Z_]+[A-Z]", setting.name)
    assert setting.doc.endswith((".", "`."))
    assert "|" not in setting.doc + setting.kind.what
    if setting.default is not None:
        setting.kind.parse(setting.default)  # raises where a default is out of its own bounds


def test_names_and_options_are_unique() -> None:
    names = [setting.name for setting in table.SETTINGS]

    assert len(set(names)) == len(names)
    assert len({flag_of(name) for name in names}) == len(names)


def test_the_redirect_and_the_sidecar_mean_the_same_port() -> None:
    assert table.TRANSPARENT_PORT.name == TRANSPARENT_PORT_VARIABLE


def test_the_defaults_are_those_of_the_contract() -> None:
    assert table.ADMIN_PORT.read({}) == ADMIN_PORT
    assert table.POLICY_DIR.read({}) == POLICY_DIR


def test_no_variable_turns_the_verification_of_upstreams_off() -> None:
    forbidden = re.compile(r"INSECURE|VERIFY|VERIFIC|SKIP|UNSAFE|NO_|DISABLE|OFF|ALLOW|SELF_SIGNED|HOSTNAME")

    # Whom the company's proxy is not asked for is verified like everybody.
    assert [setting.name for setting in table.SETTINGS if forbidden.search(setting.name)] == [
        "PODKEY_EGRESS_NO_PROXY"
    ]
    trust = {setting.name for setting in table.SECTIONS["Trust"]}
    # Each adds or replaces authorities, or bounds a lifetime. A new one deserves a look at this test.
    assert trust == {
        "PODKEY_UPSTREAM_CA_FILES",
        "PODKEY_ROOTS_FILE",
        "PODKEY_CA_LIFETIME",
        "PODKEY_LEAF_LIFETIME",
    }


def test_ways_in_are_listed_with_commas() -> None:
    assert table.CAPTURE.kind.parse("explicit, endpoint") == (Capture.EXPLICIT, Capture.ENDPOINT)


@pytest.mark.parametrize("address", ["127.0.0.1", "::", "fd00::1", "10.1.2.3"])
def test_an_admin_address_is_an_ip_address(address: str) -> None:
    assert table.ADMIN_ADDRESS.kind.parse(address) == address


def test_endpoints_are_ports_and_names_with_blanks_between() -> None:
    text = "15101=openai 15102=api.example.com"

    assert table.ENDPOINTS.kind.parse(text) == (Endpoint(15101, "openai"), Endpoint(15102, "api.example.com"))


@pytest.mark.parametrize("setting", [table.DISCOVERY_CA_FILE, table.AUDIT_FILE])
def test_a_dash_is_no_file(setting: Setting[object]) -> None:
    assert setting.kind.parse("-") is None
    assert setting.kind.parse("/etc/file") == "/etc/file"


@pytest.mark.parametrize(
    "url",
    [
        "https://kubernetes.default.svc",
        "https://oidc.eks.eu-central-1.amazonaws.com/id/AB12",
        "https://[fd00::1]:6443/",
        "https://10.0.0.1:6443",
    ],
)
def test_keys_are_asked_for_at_an_https_url(url: str) -> None:
    assert table.DISCOVERY_URL.kind.parse(url) == url


@pytest.mark.parametrize("audience", ["podkey", "https://podkey.example.com", "api://x?y=z"])
def test_an_audience_is_any_text_without_blanks(audience: str) -> None:
    assert table.AUDIENCE.kind.parse(audience) == audience


def test_a_cluster_may_be_named_by_an_arn() -> None:
    arn = "arn:aws:eks:eu-central-1:111122223333:cluster/prod"

    assert table.CLUSTER.kind.parse(arn) == arn


def test_audit_records_go_to_standard_output_or_a_file() -> None:
    assert table.AUDIT_FILE.kind.parse("-") is None
    assert table.AUDIT_FILE.kind.parse("/var/log/audit.jsonl") == "/var/log/audit.jsonl"


@pytest.mark.parametrize(
    ("setting", "text", "message"),
    [
        (table.ADMIN_ADDRESS, "localhost", "`localhost` is not an IP address"),
        (table.ADMIN_PORT, "80", "`80` is not a port from 1024 to 65535"),
        (table.ENDPOINTS, "openai", "`openai` is not an endpoint"),
        (table.ENDPOINTS, "15101=", "`15101=` is not an endpoint"),
        (table.ENDPOINTS, "15101=https://x", "`15101=https:…` is not an endpoint"),
        (table.ENDPOINTS, "443=openai", "`443` is not a port from 1024 to 65535"),
        (table.AUDIENCE, "pod key", "`pod key` is not an audience"),
        (table.AUDIENCE, "a" * 513, "`aaaaaaaaaaaa…` is not an audience"),
        (table.ISSUER, "https://x y", "`https://x y` is not an issuer"),
        (table.DISCOVERY_URL, "http://x.example.com", "`http://x.exa…` is not an https URL"),
        (table.DISCOVERY_URL, "x.example.com", "`x.example.co…` is not an https URL"),
        (table.DISCOVERY_URL, "https://user@x/", "`https://user…` is not an https URL"),
        (table.DISCOVERY_URL, "https://x/ y", "`https://x/ y` is not an https URL"),
        (table.NAMESPACE_NAME, "ML", "`ML` is not a namespace"),
        (table.NAMESPACE_NAME, "a" * 64, "`aaaaaaaaaaaa…` is not a namespace"),
        (table.SERVICE_ACCOUNT, "*", "`*` is not a service account's name"),
        (table.SERVICE_ACCOUNT, "a" * 254, "`aaaaaaaaaaaa…` is not a service account's name"),
        (table.POD_UID, "a/b", "`a/b` is not a pod's uid"),
        (table.CLUSTER, "prod east", "`prod east` is not a cluster's name"),
        (table.GPU, "False", "`False` is neither `true` nor `false`"),
        (table.LEAF_LIFETIME, "25h", "`25h` is not a time from 10m to 24h"),
        (table.CA_LIFETIME, "23h", "`23h` is not a time from 1d to 365d"),
        (table.HASHED_BODY_LIMIT, "1023Ki", "`1023Ki` is not a size from 1Mi to 256Mi"),
        (table.HASHED_BODY_LIMIT, "268435457", "`268435457` is not a size from 1Mi to 256Mi"),
        (table.HELD_BODIES_LIMIT, "1025Mi", "`1025Mi` is not a size from 1Mi to 1024Mi"),
        (table.CAPTURE, ",", "it lists nothing"),
        (table.LOG_LEVEL, "trace", "`trace` is not `debug`, `info`, `warning` or `error`"),
    ],
)
def test_refuses(setting: Setting[object], text: str, message: str) -> None:
    with pytest.raises(Fault) as caught:
        setting.read({setting.name: text})

    assert caught.value.message == message


@pytest.mark.parametrize(
    "token", ["0" * 31, "0" * 33, "G" + "0" * 31, "A" * 32, "0" * 32 + "\n0", "../" * 11]
)
def test_an_endpoint_token_is_32_hexadecimal_digits_and_no_other_is_shown(token: str) -> None:
    assert table.ENDPOINT_TOKEN.read({table.ENDPOINT_TOKEN.name: "0a" * 16}) == "0a" * 16
    assert table.ENDPOINT_TOKEN.read({}) == ""
    with pytest.raises(Fault) as fault:
        table.ENDPOINT_TOKEN.read({table.ENDPOINT_TOKEN.name: token})
    assert fault.value.message == "it is no token"
    assert token[:6] not in fault.value.fix


def test_the_mode_is_one_of_a_policys_words() -> None:
    assert table.MODE.read({}) is Mode.ENFORCE
    assert table.MODE.read({table.MODE.name: "observe"}) is Mode.OBSERVE
    with pytest.raises(Fault, match="`enforce` or `observe`"):
        table.MODE.read({table.MODE.name: "true"})
