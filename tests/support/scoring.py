"""What the tests of scoring share: how many rows there are, which is damaged, and how they are scored."""

from hnexport.score import ScoreOptions

ROWS, PART_ROWS, DAMAGED = 70, 16, 37
NAMES = ("cat", "dog", "fox", "owl", "yak", "cow", "pig", "hen", "rat", "bee")
OPTIONS = ScoreOptions(provider="cpu", threads=1, part_rows=PART_ROWS)
