from injector.reading.settled import SETTLED
from proxy.core import contract
from proxy.documents.settings_table import SETTINGS


def test_what_is_settled_are_settings() -> None:
    assert {contract.PROXY_UID_VARIABLE, *(setting.name for setting in SETTINGS)} >= SETTLED
