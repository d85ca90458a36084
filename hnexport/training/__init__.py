"""Training an ensemble: both halves as one module, and what members that share batch-norm statistics lose."""
