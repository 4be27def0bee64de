from injector.core.outcome import Finding
from proxy.core.injection_codes import InjectionCode


def test_a_finding_begins_with_its_code_and_ends_with_the_fix() -> None:
    finding = Finding(InjectionCode.PROXY_UID, "container `app` runs as 1337", "run it as another user")
    assert str(finding) == "proxy_uid: container `app` runs as 1337; run it as another user"
    assert str(Finding(InjectionCode.DISABLED, "the pod says so")) == "disabled: the pod says so"
