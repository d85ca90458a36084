"""Main networks: ordinary modules that know nothing of how their weights come about."""
