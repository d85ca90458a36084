"""The machine that this runs on: its processor, its memory, the limits of its containers, and what results depend on.

Whatever only one operating system says is asked here and nowhere else, and every question has an answer where the
system says nothing: None, or the number that does no harm. Standard library only, but for `environment`.
"""
