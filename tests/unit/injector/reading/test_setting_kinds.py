from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.core.intent import Quantities
from injector.reading import setting_kinds as kinds
from proxy.documents.problems import Fault
from proxy.documents.setting_kinds import Kind

ALL: dict[str, Kind[Any]] = {name: value for name, value in vars(kinds).items() if isinstance(value, Kind)}


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("IMAGE", "registry.example:5000/podkey/podkey@sha256:" + "a" * 64, None),
        ("IMAGE", "[fd00::1]:5000/podkey:1.2.3", None),
        ("PULL_POLICY", "Never", None),
        ("ADDRESS", "0:0:0:0:0:0:0:1", "::1"),
        ("PORT", "8443", 8443),
        ("TRUTH", "false", False),
        ("NO_PROXY", "10.0.0.0/8", None),
        ("NO_PROXY", ".internal.example", None),
        ("ACCELERATOR", "example.com/npu", None),
        ("ACCELERATOR", "nvidia.com/mig-*", None),
        ("NAMESPACE", "podkey-system", None),
        ("NAME", "podkey.example-ca", None),
        ("SERVICE", "podkey-injector", None),
        ("POD_NAME", "podkey-injector-5d9c7-x2x", None),
        ("DOMAIN", "cluster.local", None),
        ("QUANTITIES", "", Quantities()),
        ("QUANTITIES", "cpu-request=0.5 memory-limit=1Gi", Quantities(cpu_request=500, memory_limit=1 << 30)),
        ("QUANTITIES", " cpu-limit=2\n memory-request=1M ", Quantities(cpu_limit=2000, memory_request=10**6)),
        ("VARIABLES", "\n A_B=x=y \n\nC=\n", (("A_B", "x=y"), ("C", ""))),
    ],
)
def test_it_reads(kind: str, text: str, value: object) -> None:
    assert ALL[kind].parse(text) == (text if value is None else value)


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("IMAGE", "podkey latest", "is not an image"),
        ("IMAGE", "-podkey", "is not an image"),
        ("PULL_POLICY", "always", "is not `Always`"),
        ("ADDRESS", "localhost", "is not an IP address"),
        ("PORT", "443", "is not a port from 1024"),
        ("TRUTH", "yes", "neither true nor false"),
        ("NETWORK", "10.0.0.0/33", "is not a CIDR"),
        ("NO_PROXY", "example.com:443", "neither a host nor a network"),
        ("ACCELERATOR", "gpu", "is not a resource's name"),
        ("ACCELERATOR", "*/gpu", "is not a resource's name"),
        ("ACCELERATOR", "example.com/n*pu", "is not a resource's name"),
        ("SERVICE", "1-podkey", "is not a Service's name"),
        ("NAMESPACE", "a" * 64, "is not a namespace"),
        ("QUANTITIES", "cpu=1", "is not an amount"),
        ("QUANTITIES", "cpu-request", "is not an amount"),
        ("QUANTITIES", "cpu-request=1 cpu-request=2", "cpu-request stands there twice"),
        ("QUANTITIES", "cpu-request=lots", "cpu-request: `lots` is not a quantity"),
        ("QUANTITIES", "cpu-request=0", "no amount to run with"),
        ("QUANTITIES", "memory-limit=-1", "no amount to run with"),
        ("QUANTITIES", "memory-limit=1e99", "no amount to run with"),
        ("VARIABLES", "PODKEY_LOG_LEVEL", "a line is not `NAME=value`"),
        ("VARIABLES", "A=1\nA=1", "A stands there twice"),
    ],
)
def test_it_says_what_is_wrong(kind: str, text: str, words: str) -> None:
    with pytest.raises(Fault) as raised:
        ALL[kind].parse(text)

    assert words in raised.value.message
    assert raised.value.fix


def test_a_line_that_is_none_is_not_shown() -> None:
    with pytest.raises(Fault) as raised:
        kinds.VARIABLES.parse("sk-proj-somebodys-key")

    assert "sk-proj" not in raised.value.message + raised.value.fix


@given(st.sampled_from(sorted(ALL)), st.text(max_size=40))
def test_any_text_is_read_or_is_a_fault(name: str, text: str) -> None:
    with suppress(Fault):
        ALL[name].parse(text)
