"""The fast lane: HTTP/1.1 on governed hosts, without mitmproxy and without asyncio's transports."""
