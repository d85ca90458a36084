"""The structured chunked hypernetwork: a chunk plan, what is stored for it, and how slots are generated from it.

It knows slots, sources and plans, and nothing of the networks that they belong to: a planner makes the plan.
"""
