import pytest
from mitmproxy.proxy.layers.tls import MockTLSLayer

from proxy.lanes.mitm import clients


@pytest.fixture(autouse=True)
def _cleartext_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Talk` says how upstream handshakes end, so the layer that would shake hands is left out."""
    monkeypatch.setattr(clients, "ServerTLSLayer", MockTLSLayer)
