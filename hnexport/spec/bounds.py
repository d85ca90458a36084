"""How much a bundle's manifest may ask for: it is a few lines of text, and may say anything."""

__all__ = ["EXPANSION", "MAX_SLOTS", "SMALL_BYTES"]

MAX_SLOTS = 100_000
"""Slots of a network, chunks of one member, or layers of an internal hypernetwork: WRN-28-10 has 133 and 42."""

EXPANSION = 64
"""How often the bytes of the listed files one member's weights may take. Chunks are linear combinations of a basis's
rows: WRN-28-10's weights are a third of its files, and a hypernetwork that compresses 64 times leaves nothing of its
network. A bundle of 1.5 MB asks for 96 MB at most, in float64 for 192 MB."""

SMALL_BYTES = 64 * 2**20
"""What any bundle may ask for, however small its files are."""
