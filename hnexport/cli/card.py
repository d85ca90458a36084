"""`hnexport card`: a bundle's model card."""

import os
from pathlib import Path

import click

from hnexport.cli.options import bundle_argument, digest_option
from hnexport.errors import BundleError
from hnexport.names import CARD_FILE
from hnexport.publishing import Contents, Rules, check_place, staged_file

__all__ = ["card"]

FILE = click.Path(path_type=Path)


@click.command()
@bundle_argument
@click.option(
    "--evaluation",
    "evaluations",
    type=FILE,
    multiple=True,
    help="What `hnexport evaluate --json` printed of this bundle; may be given several times.",
)
@click.option("--out", type=FILE, help="Another file.  [default: README.md of the bundle]")
@click.option("--force", is_flag=True, help="Replace a card that was edited by hand.")
@digest_option
def card(bundle: Path, evaluations: tuple[Path, ...], out: Path | None, force: bool, digest: str | None) -> None:
    """Write a bundle's model card: what it is, how to load it, parity, evaluation.

    It is Markdown with the metadata that model hubs read. A card that is as hnexport made it is replaced; one that
    somebody completed stays, unless --force is given. The digest of the bundle does not depend on it.
    """
    from hnexport.bundle.manifest import read_identified
    from hnexport.card import bundle_card
    from hnexport.cli import render
    from hnexport.evaluate.carded import measured_for, read_evaluation

    found = read_identified(bundle, digest)
    target = bundle / CARD_FILE if out is None else out
    rules = Rules(
        replaces=lambda path: _replaced(path, force=force),
        what="card",
        in_bundles=os.path.realpath(target) == os.path.realpath(bundle / CARD_FILE),
    )
    check_place(target, rules)
    measured = [measured_for(found, read_evaluation(path), path) for path in evaluations]
    text = bundle_card(bundle, found, measured)
    with staged_file(target, rules) as new:
        new.write_text(text, encoding="utf-8", newline="\n")
    render.say(str(target), wrap=False)


def _replaced(path: Path, *, force: bool) -> Contents:
    """A card may be replaced; what somebody wrote or completed only by force.

    Raises:
        BundleError: it is something else, or would be lost.
    """
    from hnexport.bundle.card import is_as_made

    if not path.is_file():
        raise BundleError(f"{path} exists and is no file: choose another --out")
    if not force and not is_as_made(path):
        raise BundleError(
            f"{path} was written or completed by hand: it stays; give --force to replace it, or --out for another file"
        )
    return Contents()
