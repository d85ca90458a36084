"""A hypernetwork of anybody's making and the network that it makes the weights of; see docs/howto/from.md."""
