from injector.core.settings import InjectorSettings, OnDanger, PodRules, SidecarSettings
from proxy.core.structs import fields, replace


def test_the_default_is_the_safe_choice() -> None:
    assert PodRules().on_danger is OnDanger.REFUSE


def test_the_defaults_of_the_sidecar_lie_within_what_a_pod_may_ask_for() -> None:
    sidecar = SidecarSettings("registry.test/podkey:1")
    for one in fields(sidecar.resources):
        least, amount, most = (getattr(q, one.name) for q in (sidecar.least, sidecar.resources, sidecar.most))
        assert least <= amount <= most


def test_an_image_is_all_that_has_to_be_said() -> None:
    settings = InjectorSettings(SidecarSettings("registry.test/podkey:1"))
    assert settings.certificates.folder is None
    assert settings.pods.own_namespace == "podkey-system"


def test_settings_are_told_apart_by_all_that_they_say_and_can_be_looked_up() -> None:
    sidecar, rules = SidecarSettings("x"), PodRules()
    known = {sidecar: 1, rules: 2}
    assert (known[SidecarSettings("x")], known[PodRules()]) == (1, 2)
    assert replace(sidecar, environment={"PODKEY_MODE": "observe"}) not in known
    assert replace(rules, no_proxy=("x",)) not in known
