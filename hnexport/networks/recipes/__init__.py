"""Any module with a recipe: which of its tensors are shared, which each member's own, and which generated.

See docs/howto/recipes.md.
"""
