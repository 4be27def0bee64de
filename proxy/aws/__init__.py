"""What AWS wants to be told, as pure functions: where its regions are, how a request is signed, what a session
may do."""
