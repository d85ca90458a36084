"""hnexport: hypernetwork ensembles as one exported graph `(cond_id, image) -> logits`."""
