"""The structured chunked hypernetwork: which chunk goes where, what is stored, and how weights are generated."""
