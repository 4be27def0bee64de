"""F5: the commands `podkey-injector serve` and `podkey inject`: wiring only."""
