"""F0: the words of the domain as frozen types. Standard library only; nothing here performs I/O."""
