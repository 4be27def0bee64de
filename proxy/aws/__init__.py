"""What AWS wants to be told, as pure functions: its regions, its signatures, its session policies."""
