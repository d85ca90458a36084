"""What `make study` does, step by step: tasks, folds, answers, what they are worth, prices, tables."""
