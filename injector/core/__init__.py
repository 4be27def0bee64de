"""F0: what the injector speaks of, as types. The standard library and the proxy's core words only."""
