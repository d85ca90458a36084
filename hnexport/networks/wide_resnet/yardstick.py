"""hypnettorch's own modules for the same network and chunking, eager, with random weights: only their time matters."""

import contextlib
import io
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hnexport.errors import SpecError
from hnexport.networks.wide_resnet.chunking import plan_chunks
from hnexport.networks.wide_resnet.family import IMAGE
from hnexport.networks.wide_resnet.spec import RECIPES, PipelineSpec, ShortcutInput
from hnexport.spec import Chunking, HypernetSpec

__all__ = ["load_hypnettorch"]


def load_hypnettorch(
    spec: PipelineSpec, member: int, threads: int, provider: str
) -> tuple[str, Callable[[Mapping[str, NDArray[np.generic]]], Any]]:
    """What runs it, and a function of inputs by name.

    Raises:
        SpecError: hypnettorch has no such pipeline, or it is not compared here.
    """
    hypernet = spec.hypernet
    if spec.recipe != RECIPES["hypernet"] or hypernet is None or hypernet.hidden_layers or hypernet.bias:
        raise SpecError("hypnettorch is compared with the recipe hypernet and linear hypernetworks only")
    if spec.preprocess is not None:
        raise SpecError("hypnettorch takes no raw pixels")
    if spec.network.shortcut_input is not ShortcutInput.RAW:
        raise SpecError("hypnettorch's shortcuts take the block's input as it is")
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        mnet, container = _modules(spec, hypernet)
    torch.set_num_threads(threads)
    device = "cuda" if provider != "cpu" else "cpu"
    mnet.to(device).eval()
    container.to(device).eval()

    def run(inputs: Mapping[str, NDArray[np.generic]]) -> Any:
        images = inputs[IMAGE]
        with torch.inference_mode():
            flat = torch.from_numpy(images.reshape(len(images), -1)).to(device)
            return mnet.forward(flat, weights=container.forward(cond_id=member)).cpu()

    return f"hypnettorch, torch {torch.__version__} eager {device}", run


def _modules(spec: PipelineSpec, hypernet: HypernetSpec) -> tuple[Any, Any]:
    from hypnettorch.hnets import HContainer, StructuredHMLP
    from hypnettorch.hnets.structured_hmlp_examples import wrn_chunking
    from hypnettorch.mnets import WRN

    network = spec.network
    mnet = WRN(
        in_shape=(network.image.height, network.image.width, network.image.channels),
        num_classes=network.classes,
        n=network.blocks_per_group,
        k=network.widening,
        num_feature_maps=network.feature_maps,
        use_bias=network.conv_bias,
        use_fc_bias=network.output_bias,
        use_batch_norm=network.batch_norm,
        verbose=False,
    )
    shapes = mnet.param_shapes
    norms, outputs = 2 * len(mnet.batchnorm_layers or ()), 2 if network.output_bias else 1
    chunk_shapes, counts, assemble = wrn_chunking(mnet, gcd_chunking=hypernet.chunking is Chunking.GCD)
    sizes = [internal.embedding_size for internal in plan_chunks(spec).hypernets]
    structured = StructuredHMLP(
        shapes[norms:-outputs],
        chunk_shapes,
        counts,
        sizes,
        {"layers": [], "use_bias": False},
        assemble,
        cond_chunk_embs=True,
        num_cond_embs=spec.members,
        verbose=False,
    )
    container = HContainer(
        shapes,
        lambda hnets, shared, own: [*(shared or []), *hnets[0], *own],
        hnets=[structured],
        uncond_param_shapes=shapes[:norms] or None,
        cond_param_shapes=shapes[-outputs:],
        num_cond_embs=spec.members,
        verbose=False,
    )
    return mnet, container
