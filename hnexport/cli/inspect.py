"""`hnexport inspect`: what a bundle is, or a checkpoint file."""

from pathlib import Path

import click

from hnexport.cli.options import bundle_argument, json_option
from hnexport.errors import CheckpointError
from hnexport.text import number_of

__all__ = ["inspect"]


@click.command()
@bundle_argument
@json_option
def inspect(bundle: Path, as_json: bool) -> None:
    """Show a bundle's signature, weight counts, what members share, compression ratios, file sizes and parity.

    With --json also every slot and every stored tensor. A checkpoint file in its place: what it is read as.
    """
    if bundle.is_file():
        _inspect_checkpoint(bundle, as_json=as_json)
        return
    from hnexport.bundle.manifest import read_identified
    from hnexport.bundle.summary import anytime_line, summarise, temperature_line, usage_lines
    from hnexport.cli import render, render_bundle
    from hnexport.families import assumed
    from hnexport.records import to_json

    identified = read_identified(bundle)
    manifest = identified.manifest
    summary = summarise(manifest)
    if as_json:
        value = {"digest": identified.digest, "manifest": to_json(manifest), "summary": to_json(summary)}
        render.print_json(value | {"assumed": list(assumed(manifest))})
        return
    render.say(f"{manifest.name}, {number_of(manifest.members, 'member')}, from {manifest.origin}")
    render.say(f"digest {identified.digest}", wrap=False)
    render.say(f"family {manifest.source.family}")
    for said in (temperature_line(manifest), anytime_line(manifest)):
        if said is not None:
            render.say(said)
    for line in usage_lines(manifest):
        render.say(line)
    render_bundle.print_bases(manifest)
    render_bundle.print_signature(manifest)
    render_bundle.print_summary(summary)
    if summary.storage is not None:
        render_bundle.print_storage(summary.storage)
    render_bundle.print_files(manifest, summary)
    render_bundle.print_parity_summary(manifest)
    render_bundle.print_reference(manifest)


def _inspect_checkpoint(path: Path, *, as_json: bool) -> None:
    from hnexport.bundle.summary import Summary, summarise_storage, usage_lines
    from hnexport.cli import render, render_bundle
    from hnexport.families import assumed, command_line, family
    from hnexport.installed import require_complete
    from hnexport.records import to_json

    require_complete("`hnexport inspect` of a checkpoint")
    try:
        kind, checkpoint = command_line().inspected(path)
    except CheckpointError as error:
        if "--" not in str(error):
            raise
        raise CheckpointError(
            f"{error}. `hnexport convert {path} NEW.safetensors` takes such options: inspect what it writes"
        ) from error
    ensemble = checkpoint.ensemble()
    counts = family(ensemble.source.family).counts(ensemble)
    if as_json:
        value = {"kind": kind, "origin": checkpoint.origin, "spec": to_json(checkpoint.spec)}
        said = {"usage": to_json(ensemble.usage), "assumed": list(assumed(ensemble))}
        render.print_json({**value, "counts": to_json(counts), **said})
        return
    render.say(f"{kind}: {ensemble.name}, {number_of(ensemble.members, 'member')}, from {checkpoint.origin}")
    for line in usage_lines(ensemble):
        render.say(line)
    render_bundle.print_summary(Summary(name=ensemble.name, counts=counts))
    render_bundle.print_storage(summarise_storage(ensemble))
