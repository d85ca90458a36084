"""The options that describe a Wide ResNet ensemble on a command line, each said once. Needs click alone."""

from pathlib import Path

import click

from hnexport.number_lists import Integers

__all__ = ["DESCRIBES", "INPUT", "OF_STATE_DICTS", "SOURCES", "SPECIFICATION", "STATE_DICTS"]

FILE = click.Path(path_type=Path)
STATISTICS = click.option(
    "--statistics",
    type=Integers(),
    help="Sets of batch-norm statistics (mean_N) to use: one for every member, or one for each, 0,1,2.",
)
PREFIXES = (
    click.option("--hnet-prefix", help="Where a file holds several: what stands before the hypernetwork's names."),
    click.option("--mnet-prefix", help="The same for the main network's, for instance state_dict.model.mnet."),
)
AVERAGE = click.option(
    "--average-members", is_flag=True, help="Of a late-phase state dict: one member, the average of all."
)
SOURCES = (
    click.option("--hypnettorch", type=FILE, help="A trained ensemble: one file with the state dicts hnet and mnet."),
    click.option("--hnet", type=FILE, help="Its hypernetwork's state dict, where that is a file of its own."),
    click.option("--mnet", type=FILE, help="Its main network's state dict, for the batch-norm statistics."),
    *PREFIXES,
    STATISTICS,
    click.option(
        "--checkpoint",
        type=FILE,
        help="A native checkpoint, from `hnexport convert` or your training code, or a late-phase state dict.",
    ),
    AVERAGE,
    click.option("--seed", type=int, help="Of random weights, where no trained ones are given.  [default: 0]"),
)
STATE_DICTS = (
    click.option("--hnet", type=FILE, help="The hypernetwork's state dict, where that is a file of its own."),
    click.option("--mnet", type=FILE, help="The main network's state dict, for the batch-norm statistics."),
    *PREFIXES,
    STATISTICS,
    AVERAGE,
)
SPECIFICATION = (
    click.option("--members", type=int, help="Number of ensemble members; needed for random weights."),
    click.option("--network", help="Main network, wrn-DEPTH-WIDENING.  [default for random weights: wrn-28-10]"),
    click.option("--classes", type=int, help="[default for random weights: 10]"),
    click.option("--image", type=Integers(), help="Channels, height, width.  [default: 3,32,32]"),
    click.option("--feature-maps", type=Integers(), help="Four numbers, before widening.  [default: 16,16,32,64]"),
    click.option("--conv-bias/--no-conv-bias", default=None, help="Whether the 3x3 convolutions have biases."),
    click.option("--output-bias/--no-output-bias", default=None, help="Whether the output layer has a bias."),
    click.option(
        "--shortcut-input",
        type=click.Choice(["raw", "preactivated"]),
        help="What the 1x1 shortcuts take, of random weights.  [default: raw]",
    ),
    click.option("--recipe", type=click.Choice(["hypernet", "batch-ensemble"]), help="[default: hypernet]"),
    click.option(
        "--generate",
        multiple=True,
        type=click.Choice(["norm", "output"]),
        help="Let the hypernetwork generate these too.",
    ),
    click.option("--chunking", type=click.Choice(["published", "gcd", "halves"]), help="[default: published]"),
    click.option("--embedding-sizes", type=Integers(), help="One for each internal hypernetwork, 10,7,14,…."),
    click.option("--hidden-layers", type=Integers(), help="Of the internal hypernetworks, 50,50.  [default: linear]"),
    click.option("--hypernet-bias/--no-hypernet-bias", default=None, help="Biases in the internal hypernetworks."),
    click.option("--activation", type=click.Choice(["relu", "tanh", "sigmoid", "elu", "none"]), help="[default: relu]"),
)
DESCRIBES = (
    *("members", "network", "classes", "image", "feature_maps", "conv_bias", "output_bias", "shortcut_input", "recipe"),
    *("generate", "chunking", "embedding_sizes", "hidden_layers", "hypernet_bias", "activation"),
)
OF_STATE_DICTS = ("statistics", "hnet_prefix", "mnet_prefix")
INPUT = (
    click.option("--image-layout", type=click.Choice(["nchw", "nhwc", "flat-hwc"]), help="Axes of the graph's image."),
    click.option("--preprocess", type=click.Choice(["uint8"]), help="Take raw pixels and normalise in the graph."),
)
