"""Stands in for an API on the internet: it answers who has the right key, and nobody else.

Written after the public documentation of OpenAI's chat completions; it knows two questions.
"""

import base64
import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class StandIn(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    expected: dict[str, str]

    def do_GET(self) -> None:
        if self.path == "/daily" and self.authorized("reports"):
            self.answer(200, {"report": "loss 0.31, falling"})
        elif self.authorized("openai"):
            self.answer(200, {"object": "list", "data": []})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.authorized("openai"):
            return
        if body.get("stream"):
            self.stream("Not ", "the ", "app.")
        else:
            message = {"role": "assistant", "content": "The sidecar does. You sent me a good one."}
            self.answer(200, {"object": "chat.completion", "choices": [{"index": 0, "message": message}]})

    def authorized(self, name: str) -> bool:
        if self.headers["Authorization"] == self.expected[name]:
            return True
        self.answer(401, {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}})
        return False

    def stream(self, *words: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        deltas = [json.dumps({"choices": [{"index": 0, "delta": {"content": word}}]}) for word in words]
        for event in [*deltas, "[DONE]"]:
            data = f"data: {event}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.write(b"0\r\n\r\n")

    def answer(self, status: int, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """The demo tells the story."""


def main(address: str, port: str, certificate: str, key: str, keys: str) -> None:
    """`keys` is a file with the secrets that count, as JSON: it is what a provider's database would hold."""
    known = json.loads(Path(keys).read_text())
    login = base64.b64encode(f"{known['user']}:{known['password']}".encode()).decode()
    StandIn.expected = {"openai": f"Bearer {known['api-key']}", "reports": f"Basic {login}"}
    server = ThreadingHTTPServer((address, int(port)), StandIn)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
