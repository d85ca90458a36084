"""Ensembles that are a plain list of modules of one architecture; see docs/howto/modules.md."""
