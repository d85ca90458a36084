"""What `--labels` says: the names of the classes, one a line."""

from pathlib import Path

import click

from hnexport.images import read_labels
from hnexport.spec import OutputKind, Signature

__all__ = ["given_class_names"]


def given_class_names(signature: Signature, path: Path) -> dict[str, tuple[str, ...]]:
    """The names in a file, by the output that they are of: the only one of logits.

    Raises:
        click.UsageError: there is no such output, there are several, or it has any number of classes.
        RuntimeInputError: the file cannot be read, or has not one name for each class.
    """
    logits = [output for output in signature.outputs if output.kind is OutputKind.LOGITS]
    classes = logits[0].shape[logits[0].axis or 0] if len(logits) == 1 else None
    if not isinstance(classes, int):
        raise click.UsageError("--labels needs one output of logits with a fixed number of classes")
    return {logits[0].name: read_labels(path, classes)}
