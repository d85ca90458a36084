"""Side-by-side timing: a bundle's ways to run against the plain network and against PyTorch.

`hnexport.bench.run.bench` runs one. Nothing is imported here: each contender's process imports no more than it
needs, so that its memory is its own.
"""
