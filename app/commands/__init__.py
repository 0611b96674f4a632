"""What each subcommand of `plaudit` does."""
