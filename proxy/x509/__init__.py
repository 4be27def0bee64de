"""F2: certificates and their keys. Both programs make them."""
