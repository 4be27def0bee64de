"""F2: who gets a sidecar, and what it is made of. Pure: chance and time are arguments."""
