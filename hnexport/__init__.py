"""hnexport: hypernetwork ensembles as one exported graph `(cond_id, image) -> logits`."""

__version__ = "0.1.0"
