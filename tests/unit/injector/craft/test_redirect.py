from ipaddress import ip_network

import pytest

from injector.core.intent import Intent
from injector.core.settings import PodRules, SidecarSettings
from injector.craft.redirect import SECURITY, redirect_container, redirect_means, redirect_variables
from proxy.core.injection_codes import InjectionCode
from proxy.core.redirect import Redirect

SETTINGS = SidecarSettings(image="x", image_pull_policy="Always")


def test_where_nobody_says_anything_nothing_is_written() -> None:
    assert redirect_variables(Intent(), SETTINGS, PodRules()) == {}
    found = redirect_container({}, SETTINGS, {})
    assert found == {
        "name": "podkey-redirect",
        "image": "x",
        "imagePullPolicy": "Always",
        "command": ["podkey", "redirect", "apply", "--verify"],
        "securityContext": SECURITY,
    }
    assert redirect_means({}) == Redirect()


def test_it_has_one_capability_and_no_way_to_more() -> None:
    assert SECURITY["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN"]}
    assert SECURITY["allowPrivilegeEscalation"] is False
    assert SECURITY["readOnlyRootFilesystem"] is True


def test_the_pods_annotations_and_the_platforms_settings_come_together() -> None:
    settings = SidecarSettings(
        image="x",
        environment={
            "PODKEY_FENCE_METADATA": "false",
            "PODKEY_CAPTURE_PORTS": "443,8443",
            "PODKEY_EXCLUDE_PORTS": "80, 81",
            "PODKEY_EXCLUDE_CIDRS": "192.0.2.0/24",
            "PODKEY_LOG_LEVEL": "debug",
            "PODKEY_TRANSPARENT_PORT": "15555",
            "PODKEY_PROXY_UID": "1",
        },
    )
    intent = Intent(
        capture_ports=(443, 80, 9443),
        exclude_ports=(80, 82),
        exclude_cidrs=(ip_network("198.51.100.0/24"),),
    )
    rules = PodRules(cluster_cidrs=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")), exclude_cluster=True)
    variables = redirect_variables(intent, settings, rules)
    assert variables == {
        "PODKEY_CAPTURE_PORTS": "443,80,9443",
        "PODKEY_EXCLUDE_CIDRS": "192.0.2.0/24,10.0.0.0/8,fd00::/8,198.51.100.0/24",
        "PODKEY_EXCLUDE_PORTS": "80,81,82",
        "PODKEY_FENCE_METADATA": "false",
    }
    means = redirect_means(variables)
    assert isinstance(means, Redirect)
    assert means.ports == (443, 9443)
    assert redirect_container(variables, settings, {"limits": {}})["env"][0] == {
        "name": "PODKEY_CAPTURE_PORTS",
        "value": "443,80,9443",
    }


def test_the_clusters_networks_stay_in_where_nobody_leaves_them_out() -> None:
    rules = PodRules(cluster_cidrs=(ip_network("10.0.0.0/8"),))
    assert redirect_variables(Intent(), SETTINGS, rules) == {}


@pytest.mark.parametrize(
    "intent",
    [Intent(exclude_ports=(443, 80)), Intent(capture_ports=(15001,)), Intent(capture_ports=(443, 15001))],
)
def test_a_redirect_that_could_never_be_loaded_is_refused_here(intent: Intent) -> None:
    found = redirect_means(redirect_variables(intent, SETTINGS, PodRules()))
    assert isinstance(found, tuple)
    assert [finding.code for finding in found] == [InjectionCode.BAD_ANNOTATION]
    assert found[0].fix
