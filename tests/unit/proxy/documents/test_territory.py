from typing import Any

import pytest

from proxy.core.credentials import Bearer
from proxy.core.globs import Glob
from proxy.core.hosts import HostTemplate
from proxy.core.services import Catalogue, Endpoint, Placeholder, Service
from proxy.documents.problems import ProblemCode
from proxy.documents.territory import Territory


def entry(*hosts: str, name: str = "acme", **more: Any) -> Service:
    return Service(name, "Acme", "Does.", (Endpoint(tuple(map(HostTemplate, hosts))),), (Bearer(),), **more)


def found(service: Service, *others: Service) -> list[tuple[ProblemCode, str, str]]:
    return list(Territory(others).trespasses(service))


@pytest.mark.parametrize(
    ("host", "suffix"),
    [
        ("api.acme.example", None),
        ("acme.github.io", None),
        ("{team}.acme.example", None),
        ("{a}.{b+}.acme.example", None),
        ("{team}.acme.github.io", None),
        ("{team}.github.io", "github.io"),
        ("{name}.co.uk", "co.uk"),
        ("{bucket+}.s3.amazonaws.com", "s3.amazonaws.com"),
        # One label below this name is Amazon's; more labels below it may be anybody's.
        ("{name}.amazonaws.com", None),
        ("{name+}.amazonaws.com", "amazonaws.com"),
        ("{name}.{place}.amazonaws.com", "amazonaws.com"),
    ],
)
def test_an_entry_must_not_cover_what_strangers_can_register(host: str, suffix: str | None) -> None:
    expected = [] if suffix is None else [ProblemCode.HOST_PUBLIC_SUFFIX]
    problems = found(entry(host))
    assert [code for code, _, _ in problems] == expected
    for _, message, fix in problems:
        assert message.startswith(f"`{host}`: strangers can register names below")
        assert suffix is not None
        assert suffix in message
        assert fix == "name only hosts below a domain that the service owns"


@pytest.mark.parametrize(
    ("mine", "theirs", "taken"),
    [
        ("api.acme.example", "api.acme.example", True),
        ("{x}.acme.example", "api.acme.example", True),
        ("{x+}.example.test", "api.eu.example.test", True),
        ("api.acme.example", "{x}.acme.example", True),
        ("v-{x}.acme.example", "{y}-a.acme.example", True),
        ("api.acme.example", "www.acme.example", False),
        ("{x}.acme.example", "a.b.acme.example", False),
        ("v{x}.acme.example", "w{y}.acme.example", False),
    ],
)
def test_an_entry_must_not_take_hosts_of_another(mine: str, theirs: str, *, taken: bool) -> None:
    other = entry(theirs, name="other")
    expected = [
        (
            ProblemCode.HOST_TAKEN,
            f"`{mine}` covers hosts of the service `other`",
            "leave them to `service: other`",
        )
    ]
    assert found(entry(mine), other) == (expected if taken else [])


def test_an_entry_must_not_call_another_services_host_a_blob_host() -> None:
    # It would switch governance off for that host: blob hosts never get a credential.
    mine = entry("api.acme.example", blob_hosts=(Glob("api*.acme.example"),))
    other = entry("api-2.acme.example", name="other")
    assert found(mine, other) == [
        (
            ProblemCode.HOST_TAKEN,
            "`api*.acme.example` covers hosts of the service `other`",
            "leave them to `service: other`",
        )
    ]
    assert found(entry("api.acme.example", blob_hosts=(Glob("cdn*.acme.example"),)), other) == []


def test_an_entry_must_not_make_an_api_of_another_services_blob_host() -> None:
    other = entry("api.hub.example", name="hub", blob_hosts=(Glob("cdn-*.hub.example"),))
    assert found(entry("cdn-1.hub.example"), other) == [
        (
            ProblemCode.HOST_TAKEN,
            "`cdn-1.hub.example` covers hosts of the service `hub`",
            "leave them to `service: hub`",
        )
    ]


@pytest.mark.parametrize("blob", ["*.*.example.com", "api.openai.com", "*.acme.co.uk", "cdn.xacme.example"])
def test_a_blob_host_lies_below_a_domain_of_the_entry(blob: str) -> None:
    assert found(entry("api.acme.example", blob_hosts=(Glob(blob),))) == [
        (
            ProblemCode.HOST_TAKEN,
            f"`{blob}` is below no domain of the entry's endpoints",
            "remove it: only hosts below the service's own domain need to be named",
        )
    ]


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("ACME_KEY", "ak-{hex:40}", True),
        ("ACME_KEY", "fixed", False),
        ("ACME_API_TOKEN", "{alnum:32}", True),
        ("ACME_KEY", "https://evil.example/{hex:40}", False),
        ("OPENAI_API_BASE", "{hex:40}", False),
        ("AWS_CONFIG_FILE", "{hex:40}", False),
        ("KUBECONFIG", "{hex:40}", False),
        ("PATH", "{hex:40}", False),
        ("LD_PRELOAD", "{hex:40}", False),
        ("PYTHONPATH", "{hex:40}", False),
        ("HTTPS_PROXY", "{hex:40}", False),
        ("AWS_ENDPOINT_URL", "{hex:40}", False),
        ("OPENAI_BASE_URL", "{hex:40}", False),
        ("REQUESTS_CA_BUNDLE", "{hex:40}", False),
    ],
)
def test_an_entry_must_not_steer_an_application(name: str, value: str, *, allowed: bool) -> None:
    problems = found(entry("api.acme.example", placeholders=(Placeholder(name, value),)))
    expected = (
        ProblemCode.BAD_VALUE,
        f"`{name}={value}` cannot be a placeholder",
        "use the variable that holds the SDK's key, with a drawn part such as `{alnum:32}`",
    )
    assert problems == ([] if allowed else [expected])


def test_everything_that_an_entry_claims_is_told() -> None:
    mine = entry(
        "{x}.github.io", "api.one.example", "api.two.example", placeholders=(Placeholder("HOME", "x"),)
    )
    others = (entry("api.one.example", name="one"), entry("api.two.example", name="two"))
    assert [code for code, _, _ in found(mine, *others)] == [
        ProblemCode.HOST_TAKEN,
        ProblemCode.HOST_TAKEN,
        ProblemCode.HOST_PUBLIC_SUFFIX,
        ProblemCode.BAD_VALUE,
    ]


def test_an_entry_of_its_own_hosts_stands_beside_the_built_in_ones(catalogue: Catalogue) -> None:
    assert found(entry("api.acme.example", "{team}.acme.example"), *catalogue.values()) == []
