from itertools import chain

from injector.core.settings import CertificateSettings, InjectorSettings, SidecarSettings
from injector.reading.settings import read_injector_settings
from injector.reading.settings_table import PREFIX, SECTIONS, SETTINGS, flag_of
from proxy.documents.settings import own_variables

REQUIRED = {f"{PREFIX}{name}": "x" for name in ("NAMESPACE", "POD_NAME", "IMAGE")}


def test_each_setting_stands_there_once_with_a_name_of_ours() -> None:
    names = [setting.name for setting in SETTINGS]

    assert len(names) == len(set(names))
    assert all(name.startswith(PREFIX) for name in names)
    assert list(chain.from_iterable(SECTIONS.values())) == list(SETTINGS)


def test_no_setting_looks_like_a_variable_that_kubernetes_sets_for_our_service() -> None:
    values = {setting.name: "1" for setting in SETTINGS}

    assert own_variables(values) == values


def test_only_what_nobody_can_guess_is_required() -> None:
    assert {setting.name for setting in SETTINGS if setting.default is None} == set(REQUIRED)


def test_the_defaults_are_those_of_the_types() -> None:
    found = read_injector_settings(REQUIRED)

    assert isinstance(found, InjectorSettings)
    assert found.sidecar == SidecarSettings("x")
    assert found.certificates == CertificateSettings()
    plain = InjectorSettings(SidecarSettings("x"))
    assert found.serving == plain.serving
    assert found.resync_seconds == plain.resync_seconds
    assert found.detector_seconds == plain.detector_seconds
    assert (found.log_level, found.log_format) == (plain.log_level, plain.log_format)
    assert found.pods.own_namespace == "x"
    assert found.pods.cluster_domain == plain.pods.cluster_domain
    assert found.pods.on_danger is plain.pods.on_danger
    assert found.pods.native_sidecars is plain.pods.native_sidecars
    assert found.pods.default_pod_security is plain.pods.default_pod_security


def test_a_setting_is_an_option_without_the_prefix() -> None:
    assert flag_of("PODKEY_INJECTOR_SIDECAR_RESOURCES") == "--sidecar-resources"
