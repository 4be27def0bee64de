"""The code that moves a connection's bytes. A lane never decides: it hands facts to the transaction."""
