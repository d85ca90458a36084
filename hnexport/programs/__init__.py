"""PyTorch programs: how they are captured, what they may write, and how they are run in float64."""
