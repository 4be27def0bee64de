"""The application's side of a connection, from its handshake to its first answer and what comes behind it."""

import socket
import ssl
from collections.abc import Buffer

from proxy.lanes.fast.calls import calls_of
from proxy.lanes.fast.handshakes import set_cork
from proxy.lanes.fast.side import RECORD, Side


class ClientSide(Side):
    """Two things that cost as much as a small request where a connection has only one of them.

    OpenSSL sends a session ticket right behind the handshake, and nobody waits for it: the socket is corked,
    and the ticket goes along with the first answer (after 200 ms by itself, tcp(7)).

    Whoever asks one question mostly leaves without TLS's farewell. To OpenSSL that is an attack, which it
    tells by an alert, and a socket that is closed answers that by a reset. So an end is looked for before
    OpenSSL meets it, once: who has come to a second question is likely to stay.
    """

    __slots__ = ()

    def __init__(self, sock: ssl.SSLSocket, *, is_corked: bool, is_read_by_kernel: bool) -> None:
        super().__init__(sock)
        if is_corked:
            self._send_some = self._send_first
        # A kernel that reads TLS shows records here, some of which are errors to those who read bytes.
        if not is_read_by_kernel:
            self._receive_some = self._receive_first

    def _send_first(self, data: Buffer, _flags: int = 0) -> int:
        self._send_some = calls_of(self.sock).send
        try:
            return self._send_some(data)
        finally:
            set_cork(self.sock, on=False)

    def _receive_first(self, size: int = RECORD, _flags: int = 0) -> bytes:
        # The question; what comes behind it may be the end.
        data = self.sock.recv(size)
        self._receive_some = self._receive_unless_ended
        return data

    def _receive_unless_ended(self, size: int = RECORD, _flags: int = 0) -> bytes:
        if not socket.socket.recv(self.sock, 1, socket.MSG_PEEK):
            raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "an end without a farewell")
        self._receive_some = calls_of(self.sock).receive
        return self._receive_some(size)
