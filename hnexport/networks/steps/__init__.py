"""A hypernetwork as steps: operators over its tensors, read from a captured program, written as data, and run again."""
