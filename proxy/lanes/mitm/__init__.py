"""The mitmproxy lane: HTTP/1.1, HTTP/2, gRPC and WebSocket on governed hosts.

We stand on mitmproxy's connection handler and its layers, and leave out its master, its addon manager and its
addons: those log an exception in a hook and let the flow go on (docs/adr/0008). Four facts about the rest
decide what this room looks like:

- `flow.request.host` is an address here, and what it calls pretty is chosen by the application. Names come
  from the Arrival.
- Its own HTTP/1 reader has no limits, and answers errors in HTML of its own. `servers` reads first, and
  `streams` answers.
- A refused request with a body would be buffered whole before the answer. `streams` answers at once.
- WebSocket and TCP layers keep every message. Ours pass on and forget.
"""
