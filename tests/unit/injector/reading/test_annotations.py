from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.core.intent import Intent, Quantities, Wish
from injector.core.outcome import Finding
from injector.reading.annotations import (
    INJECTOR_ANNOTATIONS,
    MAX_EXPLAINED,
    MAX_VALUE_LENGTH,
    USER_ANNOTATIONS,
    read_intent,
    wish_of,
)
from proxy.core.contract import CAPTURE_PORTS_VARIABLE, EXCLUDE_CIDRS_VARIABLE, EXCLUDE_PORTS_VARIABLE
from proxy.core.injection_codes import InjectionCode
from proxy.core.redirect import Redirect
from proxy.core.settings import Capture
from proxy.documents.redirect_settings import read_redirect


def findings(**annotations: str) -> tuple[Finding, ...]:
    found = read_intent({f"podkey.io/{name.replace('_', '-')}": value for name, value in annotations.items()})
    assert isinstance(found, tuple)
    assert {finding.code for finding in found} == {InjectionCode.BAD_ANNOTATION}
    return found


@pytest.mark.parametrize("annotations", [{}, {"app": "x", "example.com/podkey.io": "x", "podkey": "x"}])
def test_annotations_of_others_say_nothing(annotations: dict[str, str]) -> None:
    assert read_intent(annotations) == Intent()


def test_all_of_ours_together_make_an_intent() -> None:
    intent = read_intent(
        {
            "podkey.io/inject": "observe",
            "podkey.io/capture": "explicit, endpoint",
            "podkey.io/sidecar-cpu-request": "0.1",
            "podkey.io/sidecar-cpu-limit": "2",
            "podkey.io/sidecar-memory-request": "256Mi",
            "podkey.io/sidecar-memory-limit": "1e9",
            "podkey.io/capture-ports": "443, 8443",
            "podkey.io/exclude-ports": "8443",
            "podkey.io/exclude-cidrs": "10.0.0.0/8,fd00::/8",
            "podkey.io/placeholders-beside-env-from": "set",
        }
    )
    assert intent == Intent(
        wish=Wish.OBSERVE,
        capture=frozenset({Capture.EXPLICIT, Capture.ENDPOINT}),
        sidecar=Quantities(100, 2000, 256 << 20, 10**9),
        capture_ports=(443, 8443),
        exclude_ports=(8443,),
        exclude_cidrs=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")),
        placeholders_beside_env_from=True,
    )


def test_default_ports_are_not_said() -> None:
    for annotations in ({"podkey.io/exclude-ports": "80"}, {"podkey.io/capture-ports": " "}):
        intent = read_intent(annotations)
        assert isinstance(intent, Intent)
        assert intent.capture_ports == ()


def test_what_the_injector_writes_itself_is_known() -> None:
    assert read_intent(dict.fromkeys(INJECTOR_ANNOTATIONS, "anything")) == Intent()


@pytest.mark.parametrize(
    ("value", "fix"),
    [
        ("true", "write `enabled`"),
        ("True", "write `enabled`"),
        ("false", "write `disabled`"),
        ("no", "write `disabled`"),
        ("Enabled", "write `enabled`"),
        (" disabled ", "write `disabled`"),
        ("observed", "did you mean `observe`?"),
        ("", "use one of: disabled, enabled, observe"),
        ("zzz", "use one of: disabled, enabled, observe"),
    ],
)
def test_a_wish_is_exact_and_what_is_nearly_one_is_told_what_to_write(value: str, fix: str) -> None:
    (found,) = findings(inject=value)
    assert found.message.startswith("`podkey.io/inject`: ")
    assert found.fix == fix
    assert wish_of({"podkey.io/inject": value}) is None


@pytest.mark.parametrize("wish", Wish)
def test_the_wish_is_read_whatever_else_is_wrong(wish: Wish) -> None:
    assert wish_of({"podkey.io/inject": wish.value, "podkey.io/nonsense": ""}) is wish
    assert wish_of({}) is None


@pytest.mark.parametrize(
    ("key", "fix"),
    [
        ("podkey.io/injct", "did you mean `podkey.io/inject`?"),
        ("podkey.io/Inject", "did you mean `podkey.io/inject`?"),
        ("Podkey.io/inject", "did you mean `podkey.io/inject`?"),
        ("podkey.io/exclude-port", "did you mean `podkey.io/exclude-ports`?"),
        ("podkey.io/sidecar-cpu", "did you mean `podkey.io/sidecar-cpu-limit`?"),
    ],
)
def test_an_unknown_annotation_is_told_which_one_was_meant(key: str, fix: str) -> None:
    found = read_intent({key: "enabled"})
    assert isinstance(found, tuple)
    assert found == (Finding(InjectionCode.BAD_ANNOTATION, f"there is no annotation `{key}`", fix),)


def test_thousands_of_unknown_ones_are_counted_and_not_explained() -> None:
    found = findings(**{f"x{index}": "" for index in range(5000)})
    assert len(found) == MAX_EXPLAINED + 1
    assert "4992 further" in found[-1].message


def test_all_mistakes_are_told_at_once() -> None:
    found = findings(
        injct="x",
        inject="yes",
        capture="transparent,nothing",
        sidecar_cpu_limit="lots",
        sidecar_memory_limit="-1",
        sidecar_memory_request="0",
        capture_ports="443,99999,x",
        exclude_cidrs="10.0.0.1/8",
        placeholders_beside_env_from="true",
    )
    assert [finding.message.partition(":")[0].strip("`") for finding in found] == [
        "there is no annotation `podkey.io/injct",
        "podkey.io/capture-ports",
        "podkey.io/capture-ports",
        "podkey.io/exclude-cidrs",
        "podkey.io/inject",
        "podkey.io/capture",
        "podkey.io/sidecar-cpu-limit",
        "podkey.io/sidecar-memory-request",
        "podkey.io/sidecar-memory-limit",
        "podkey.io/placeholders-beside-env-from",
    ]
    assert all(finding.fix for finding in found)


def test_a_fix_names_annotations_and_not_variables_of_the_init_container() -> None:
    for annotations in (
        {"exclude_ports": "443,80"},
        {"capture_ports": "15001"},
        {"exclude_cidrs": "0.0.0.0/0"},
    ):
        (found,) = findings(**annotations)
        assert "PODKEY_CAPTURE" not in str(found)
        assert "PODKEY_EXCLUDE" not in str(found)


def test_a_value_of_megabytes_is_refused_before_it_is_read() -> None:
    ports = ",".join(["443"] * MAX_VALUE_LENGTH)
    (found,) = findings(capture_ports=ports)
    assert f"it has {len(ports)} characters" in found.message
    assert len(str(found)) < 200


def test_a_value_that_could_be_a_key_is_not_shown_whole() -> None:
    (found,) = findings(inject="not-a-wish-but-a-key")
    assert "not-a-wish-b…" in found.message
    assert "a-key" not in found.message


PORTS = st.lists(st.sampled_from(["443", "80", " 8443 ", "15001", "0", "x", "", "99999"]), max_size=4)
CIDRS = st.lists(
    st.sampled_from(["10.0.0.0/8", "10.0.0.1/8", "fd00::/8", "1.2.3.4", "0.0.0.0/0", "::/0", ""])
)


@given(PORTS, PORTS, CIDRS)
def test_what_is_taken_here_podkey_redirect_takes_as_well(
    captured: list[str], excluded: list[str], cidrs: list[str]
) -> None:
    said = {"capture-ports": captured, "exclude-ports": excluded, "exclude-cidrs": cidrs}
    intent = read_intent({f"podkey.io/{name}": ",".join(values) for name, values in said.items()})
    variables = {
        CAPTURE_PORTS_VARIABLE: ",".join(captured),
        EXCLUDE_PORTS_VARIABLE: ",".join(excluded),
        EXCLUDE_CIDRS_VARIABLE: ",".join(cidrs),
    }
    redirect = read_redirect(variables)
    assert isinstance(intent, Intent) == isinstance(redirect, Redirect)
    if isinstance(intent, Intent) and isinstance(redirect, Redirect):
        assert intent.capture_ports in ((), redirect.captured_ports)
        assert intent.exclude_ports == redirect.excluded_ports
        assert intent.exclude_cidrs == redirect.excluded_cidrs


@given(st.dictionaries(st.sampled_from([*USER_ANNOTATIONS, "podkey.io/x"]), st.text(max_size=40)))
def test_any_values_are_an_intent_or_findings(annotations: Any) -> None:
    found = read_intent(annotations)
    assert isinstance(found, Intent | tuple)
    for finding in found if isinstance(found, tuple) else ():
        assert str(finding).isprintable()
