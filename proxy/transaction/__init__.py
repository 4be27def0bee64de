"""One request, from its facts to its audit record. Pure: leases and time are arguments."""
