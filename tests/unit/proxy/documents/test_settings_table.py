import re

import pytest

from proxy.core.contract import ADMIN_PORT, POLICY_DIR, TRANSPARENT_PORT_VARIABLE
from proxy.core.identity import ImageReference
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

    assert [setting.name for setting in table.SETTINGS if forbidden.search(setting.name)] == []
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


def test_images_are_references_with_blanks_between() -> None:
    digest = "sha256:" + "0" * 64
    text = f"registry.example.com:5000/ml/trainer:v1@{digest} nginx"

    assert table.IMAGES.kind.parse(text) == (
        ImageReference("registry.example.com:5000/ml/trainer", digest),
        ImageReference("nginx"),
    )


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
        (table.IMAGES, "Registry/x", "`Registry/x` is not an image reference"),
        (table.NAMESPACE_NAME, "ML", "`ML` is not a namespace"),
        (table.NAMESPACE_NAME, "a" * 64, "`aaaaaaaaaaaa…` is not a namespace"),
        (table.SERVICE_ACCOUNT, "*", "`*` is not a service account's name"),
        (table.SERVICE_ACCOUNT, "a" * 254, "`aaaaaaaaaaaa…` is not a service account's name"),
        (table.POD_UID, "a/b", "`a/b` is not a pod's uid"),
        (table.CLUSTER, "prod east", "`prod east` is not a cluster's name"),
        (table.GPU, "False", "`False` is neither `true` nor `false`"),
        (table.LEAF_LIFETIME, "25h", "`25h` is not a time from 10m to 24h"),
        (table.CA_LIFETIME, "23h", "`23h` is not a time from 1d to 365d"),
        (table.CAPTURE, ",", "it lists nothing"),
        (table.LOG_LEVEL, "trace", "`trace` is not `debug`, `info`, `warning` or `error`"),
    ],
)
def test_refuses(setting: Setting[object], text: str, message: str) -> None:
    with pytest.raises(Fault) as caught:
        setting.read({setting.name: text})

    assert caught.value.message == message
