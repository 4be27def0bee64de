"""F1: bytes from the network become frozen values: read, need more, or bad and why; never a bare False."""
