"""How a credential comes to be: generators of steps, which the edge performs."""
