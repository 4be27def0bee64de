"""F4: sockets, the API server, clock and threads. Thin and total; it decides nothing."""
