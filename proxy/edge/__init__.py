"""F4: the only I/O. Thin and total; it decides nothing."""
