"""The `hnexport` command: thin commands over the library."""
