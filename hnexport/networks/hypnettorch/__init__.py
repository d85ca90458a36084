"""Live networks of hypnettorch: a hypernetwork and a main network as modules; see docs/howto/hypnettorch.md.

Nothing here imports hypnettorch: what the two modules have is looked at.
"""
