"""Publishing: what is written appears at its place whole, and nothing of anybody else's is lost for it.

A file or folder is written in a container beside its target, `.hnexport-RANDOM-NAME`, and renamed last. Without a rule
that says what may be replaced, whatever is at the target stays. Standard library only.
"""

from hnexport.publishing.container import sweep
from hnexport.publishing.contents import Contents, list_tree
from hnexport.publishing.interrupts import deferred_signals
from hnexport.publishing.moves import Moves, PlainMoves, SystemMoves
from hnexport.publishing.rules import Rules, check_place
from hnexport.publishing.staged import staged_file, staged_folder

__all__ = [
    "Contents",
    "Moves",
    "PlainMoves",
    "Rules",
    "SystemMoves",
    "check_place",
    "deferred_signals",
    "list_tree",
    "staged_file",
    "staged_folder",
    "sweep",
]
