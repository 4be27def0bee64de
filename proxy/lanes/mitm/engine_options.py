"""mitmproxy's options, as its layers read them: fixed here, and from nowhere else.

No file, environment variable or command line is looked at: `Options` only holds what it is given.
"""

import math

from mitmproxy.options import Options


def lane_options(idle: float) -> Options:
    options = Options()
    # Those that mitmproxy's own addons would have added; the layers do not ask whether they exist.
    for name, kind, value in (
        ("connection_strategy", str, "lazy"),  # no upstream connection before a request was granted
        ("store_streamed_bodies", bool, False),
        ("stream_large_bodies", str | None, None),
        ("body_size_limit", str | None, None),
        ("keep_host_header", bool, True),
        ("proxy_debug", bool, False),
        ("normalize_outbound_headers", bool, True),
        ("validate_inbound_headers", bool, True),  # a second line, behind our own checks
    ):
        options.add_option(name, kind, value, "")
    options.update(  # type: ignore[no-untyped-call]
        http2=True,
        http3=False,
        rawtcp=False,
        websocket=False,  # its layer keeps every message; `streams` passes upgraded connections on
        http2_ping_keepalive=0,  # a ping counts as activity, and a stalled upstream would never time out
        tcp_timeout=max(1, math.ceil(idle)),
    )
    return options
