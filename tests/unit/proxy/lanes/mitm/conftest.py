import pytest
from mitmproxy.proxy.layers import tls


@pytest.fixture(autouse=True)
def _cleartext_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Talk` says how upstream handshakes end, so the layer that would shake hands is left out."""
    monkeypatch.setattr(tls, "ServerTLSLayer", tls.MockTLSLayer)
