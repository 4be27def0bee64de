"""How a credential goes onto a request."""
