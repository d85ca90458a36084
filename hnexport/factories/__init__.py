"""From a user's own function to an ensemble: `hnexport build --from train.py:make`; see docs/howto/from.md."""
