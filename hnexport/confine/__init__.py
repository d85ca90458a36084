"""Confinement: a child process that may compute, and do nothing else; for programs in files of strangers.

`landlock` and `seccomp` speak to the kernel (`kernel` is how), `limits` bounds memory, `sandbox` puts them in force and
proves it, `frames` carries numbers between the processes without ever running anything, `process` is the parent's side.
Standard library and numpy only.
"""
