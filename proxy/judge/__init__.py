"""F3: the compiled policy index and the decision over it. Pure: identity, request and time are arguments."""
