"""`hnexport inspect`: what a bundle is."""

from pathlib import Path

import click

from hnexport.cli.options import bundle_argument, json_option

__all__ = ["inspect"]


@click.command()
@bundle_argument
@json_option
def inspect(bundle: Path, as_json: bool) -> None:
    """Show a bundle's signature, weight counts, compression ratios and file sizes."""
    from hnexport.bundle.manifest import read_identified
    from hnexport.cli import render
    from hnexport.records import to_json
    from hnexport.summary import summarise

    identified = read_identified(bundle)
    manifest = identified.manifest
    summary = summarise(manifest)
    if as_json:
        render.print_json({"digest": identified.digest, "manifest": to_json(manifest), "summary": to_json(summary)})
        return
    render.say(f"{manifest.name}, {manifest.spec.members} members, from {manifest.origin}")
    render.say(f"digest {identified.digest}", wrap=False)
    render.print_bases(manifest)
    render.print_signature(manifest)
    render.print_summary(summary)
    render.print_files(manifest, summary)
