"""What to type where something is missing that `hnexport tune` makes: on a folder, and with all of hnexport."""

from pathlib import Path

from hnexport.installed import COMPLETE, is_complete

__all__ = ["how_to_tune"]


def how_to_tune(folder: Path | None, *, half: bool = False) -> str:
    """Half a sentence, `run … once`.

    Args:
        folder: of the bundle; None where it is in memory.
        half: its float16 graph is what is missing.
    """
    if folder is None:
        command = "`hnexport tune FOLDER --precision float16`" if half else "`hnexport tune`"
        where = " on a folder with its files"
    else:
        command = f"`hnexport tune {folder} --precision float16`" if half else f"`hnexport tune {folder}`"
        where = ""
    alone = "" if is_complete() else f" (it needs all of hnexport: {COMPLETE})"
    return f"run {command} once{where}{alone}"
