"""`hnexport golden`: the golden inputs as plain files, for any language."""

from pathlib import Path

import click

from hnexport.cli.options import bundle_argument, members_option, named_members

__all__ = ["golden"]


@click.command()
@bundle_argument
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A folder that does not exist yet.")
@members_option
def golden(bundle: Path, out: Path, members: tuple[int, ...] | None) -> None:
    """Write the golden inputs as plain files, for runtimes that Python cannot reach.

    OUT/golden.json says what to run and what to write; inputs are there as .npy and as raw values. Then judge with
    `hnexport verify BUNDLE --outputs FOLDER`.
    """
    from hnexport.cli import render
    from hnexport.parity import write_golden_inputs

    index = write_golden_inputs(bundle, out, named_members(members, bundle))
    with render.accomplished(f"the golden inputs were written: {out}"):
        render.say(index.what_to_do)
        render.say(str(out), wrap=False)
