"""F5: the `podkey` command, one module per subcommand."""
