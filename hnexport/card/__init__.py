"""A bundle's model card: `README.md`, with the metadata that model hubs read. It needs neither torch nor onnx."""

from hnexport.card.make import bundle_card, card_text, tell_of_kept, write_card
from hnexport.card.measured import Measured, Score, Table

__all__ = ["Measured", "Score", "Table", "bundle_card", "card_text", "tell_of_kept", "write_card"]
