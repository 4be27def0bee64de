"""F3: one review, one namespace, one lease, one authority: what follows from what is known. Pure."""
