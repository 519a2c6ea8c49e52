"""Publishing on a forge with accounts: the runs that do it, and the watch over what became of it."""
