"""Real hypnettorch ensembles for tests, made on the spot: trained-like weights, non-trivial batch-norm statistics."""

import contextlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from hnexport.networks.wide_resnet.checkpoints import Checkpoint, HypnettorchOverrides, import_hypnettorch
from hnexport.spec import Activation

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # invalid escapes in hypnettorch's own sources, when they are first compiled
    from hypnettorch.hnets import HContainer, StructuredHMLP
    from hypnettorch.hnets.structured_hmlp_examples import wrn_chunking
    from hypnettorch.mnets import WRN


@dataclass(frozen=True, kw_only=True)
class Case:
    """One hypnettorch ensemble; the attributes are hypnettorch's own arguments, apart from the last group."""

    n: int = 1
    k: int = 2
    members: int = 3
    num_classes: int = 10
    num_feature_maps: tuple[int, int, int, int] = (16, 16, 32, 64)
    in_shape: tuple[int, int, int] = (32, 32, 3)
    use_bias: bool = False
    use_fc_bias: bool = True
    no_weights: bool = False
    use_batch_norm: bool = True
    bn_track_stats: bool = True
    gcd_chunking: bool = False
    chunk_emb_sizes: int | tuple[int, ...] = 5
    layers: tuple[int, ...] = ()
    hnet_bias: bool = False
    activation: nn.Module | None = None

    norm: str = "shared"
    output: str = "member"
    convolution: str = "generated"
    container: bool = True
    statistics: int = 1
    overrides: HypnettorchOverrides = field(default_factory=HypnettorchOverrides)


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """A hypnettorch ensemble, and how its user computes predictions with it."""

    case: Case
    mnet: WRN
    hnet: nn.Module
    weights: Callable[[int], list[Tensor]]

    def predict(self, member: int, flat_images: Tensor) -> Tensor:
        """hypnettorch's own logits `[batch, class]`; `flat_images`: `[batch, height*width*channel]`."""
        condition = member if self.case.statistics > 1 else None
        self.mnet.eval()
        with torch.no_grad():
            return self.mnet.forward(flat_images, weights=self.weights(member), condition=condition)

    def images(self, count: int) -> Tensor:
        """float32 `[batch, channel, height, width]`, about standardised."""
        height, width, channels = self.case.in_shape
        return torch.randn(count, channels, height, width, generator=torch.Generator().manual_seed(count))

    def state_dicts(self) -> dict[str, dict[str, Tensor]]:
        return {"hnet": self.hnet.state_dict(), "mnet": self.mnet.state_dict()}

    def checkpoint(self) -> Checkpoint:
        """What hnexport makes of the state dicts. The one place where they cross over."""
        states = self.state_dicts()
        overrides = self.case.overrides
        if self.case.layers and overrides.activation is None:
            overrides = replace(overrides, activation=Activation.RELU)  # hypnettorch's default, which no tensor shows
        return import_hypnettorch(states["hnet"], states["mnet"], overrides=overrides)

    def double(self) -> "Ensemble":
        """The same ensemble in float64."""
        self.mnet.double()
        self.hnet.double()
        return self


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Relative L2 error, in float64."""
    return float((found.double() - expected.double()).norm() / expected.double().norm())


def flat_hwc(images: Tensor) -> Tensor:
    """From `[batch, channel, height, width]` to what hypnettorch takes, `[batch, height*width*channel]`."""
    return images.permute(0, 2, 3, 1).flatten(1)


TUTORIAL = Case(n=4, k=10, members=10, chunk_emb_sizes=(10, 7, 14, 14, 14, 7, 7, 7))
"""The ensemble of hypnettorch's tutorial on chunking strategies: WRN-28-10-B(3,3)."""

CASES: dict[str, Case] = {
    "hypernetwork container": Case(),
    "published chunking, first layers apart": Case(k=10, num_feature_maps=(4, 4, 8, 16)),
    "gcd chunking": Case(k=5, num_feature_maps=(4, 4, 8, 16), gcd_chunking=True),
    "gcd chunking with biases and generated batch norm": Case(k=3, gcd_chunking=True, use_bias=True, norm="generated"),
    "two blocks a group": Case(n=2, k=3),
    "k=1, no shortcut in the first group": Case(k=1),
    "no shortcut, chunk ratio 1": Case(k=1, num_feature_maps=(16, 16, 16, 32)),
    "unusual feature maps": Case(k=1, num_feature_maps=(12, 20, 30, 50)),
    "convolution biases": Case(use_bias=True),
    "statistics for each member": Case(statistics=3),
    "hidden layers with bias": Case(layers=(7, 6), hnet_bias=True),
    "hidden layer without bias": Case(layers=(6,)),
    "linear with bias": Case(hnet_bias=True),
    "tanh": Case(
        layers=(8,), hnet_bias=True, activation=nn.Tanh(), overrides=HypnettorchOverrides(activation=Activation.TANH)
    ),
    "embedding sizes": Case(chunk_emb_sizes=(10, 7, 14, 14, 6, 5, 4)),
    "batch ensemble": Case(convolution="shared", norm="member"),
    "batch ensemble, statistics for each member": Case(convolution="shared", norm="member", statistics=3),
    "batch ensemble with biases": Case(convolution="shared", norm="member", use_bias=True),
    "batch ensemble without output bias": Case(convolution="shared", norm="member", use_fc_bias=False),
    "batch ensemble without batch norm": Case(
        convolution="shared", norm="member", use_batch_norm=False, use_bias=True, no_weights=True
    ),
    "everything for each member": Case(convolution="member", norm="member"),
    "generated batch norm": Case(norm="generated"),
    "generated output layer": Case(output="generated"),
    "generated batch norm and output layer": Case(norm="generated", output="generated", use_bias=True, hnet_bias=True),
    "batch norm for each member": Case(norm="member"),
    "shared output layer": Case(output="shared"),
    "bare StructuredHMLP that generates everything": Case(norm="generated", output="generated", container=False),
    "bare StructuredHMLP beside the main network's weights": Case(output="shared", container=False),
    "no batch norm": Case(use_batch_norm=False, use_bias=True),
    "main network without weights": Case(no_weights=True),
    "1 member": Case(members=1),
    "2 members": Case(members=2),
    "50 members": Case(members=50, k=1),
    "50 members, batch ensemble with their statistics": Case(
        members=50, k=1, statistics=50, convolution="shared", norm="member"
    ),
    "100 classes": Case(num_classes=100),
    "64x64 images": Case(in_shape=(64, 64, 3), overrides=HypnettorchOverrides(image_height=64, image_width=64)),
    "one channel, 28x20": Case(in_shape=(28, 20, 1), overrides=HypnettorchOverrides(image_height=28, image_width=20)),
}


def build(case: Case, seed: int = 0) -> Ensemble:
    """The ensemble of a case, with weights and statistics as after training."""
    with contextlib.redirect_stdout(io.StringIO()), torch.random.fork_rng():
        torch.manual_seed(seed)
        mnet = WRN(
            in_shape=case.in_shape,
            num_classes=case.num_classes,
            n=case.n,
            k=case.k,
            num_feature_maps=case.num_feature_maps,
            use_bias=case.use_bias,
            use_fc_bias=case.use_fc_bias,
            no_weights=case.no_weights,
            use_batch_norm=case.use_batch_norm,
            bn_track_stats=case.bn_track_stats,
            verbose=False,
        )
        ensemble = _assemble(case, mnet)
        _train(ensemble)
    return ensemble


def _assemble(case: Case, mnet: WRN) -> Ensemble:
    norms = 2 * len(mnet.batchnorm_layers) if case.use_batch_norm else 0
    outputs = 2 if case.use_fc_bias else 1
    shapes = mnet.param_shapes
    parts = {"norm": shapes[:norms], "convolution": shapes[norms:-outputs], "output": shapes[-outputs:]}
    sources = {"norm": case.norm, "convolution": case.convolution, "output": case.output}
    generated = [shape for part in parts if sources[part] == "generated" for shape in parts[part]]
    structured = _structured(case, mnet, generated) if generated else None

    def assemble(from_hnet: list[Tensor], shared: list[Tensor], own: list[Tensor]) -> list[Tensor]:
        pools = {"generated": iter(from_hnet), "shared": iter(shared), "member": iter(own)}
        return [next(pools[sources[part]]) for part in parts for _ in parts[part]]

    if not case.container:
        assert structured is not None

        def bare(member: int) -> list[Tensor]:
            mixed = {part: iter(mnet.internal_params[i] for i in _positions(parts, part)) for part in parts}
            made = iter(structured.forward(cond_id=member))
            return [next(made if sources[part] == "generated" else mixed[part]) for part in parts for _ in parts[part]]

        return Ensemble(case=case, mnet=mnet, hnet=structured, weights=bare)
    container = HContainer(
        shapes,
        lambda hnets, shared, own: assemble(hnets[0] if hnets else [], shared, own),
        hnets=None if structured is None else [structured],
        uncond_param_shapes=[shape for part in parts if sources[part] == "shared" for shape in parts[part]] or None,
        cond_param_shapes=[shape for part in parts if sources[part] == "member" for shape in parts[part]] or None,
        num_cond_embs=case.members,
        verbose=False,
    )
    return Ensemble(case=case, mnet=mnet, hnet=container, weights=lambda member: container.forward(cond_id=member))


def _positions(parts: dict[str, list[Any]], part: str) -> range:
    start = 0
    for name, shapes in parts.items():
        if name == part:
            return range(start, start + len(shapes))
        start += len(shapes)
    raise KeyError(part)


def _structured(case: Case, mnet: WRN, shapes: list[list[int]]) -> StructuredHMLP:
    chunk_shapes, num_per_chunk, assembly = wrn_chunking(
        mnet,
        ignore_bn_weights=case.norm != "generated",
        ignore_out_weights=case.output != "generated",
        gcd_chunking=case.gcd_chunking,
    )
    sizes = case.chunk_emb_sizes if isinstance(case.chunk_emb_sizes, int) else list(case.chunk_emb_sizes)
    settings: dict[str, Any] = {"layers": list(case.layers), "use_bias": case.hnet_bias}
    if case.activation is not None:
        settings["activation_fn"] = case.activation
    return StructuredHMLP(
        shapes,
        chunk_shapes,
        num_per_chunk,
        sizes,
        settings,
        assembly,
        cond_chunk_embs=True,
        uncond_in_size=0,
        cond_in_size=0,
        num_cond_embs=case.members,
        verbose=False,
    )


def _train(ensemble: Ensemble) -> None:
    """Give every tensor the size it has after training, then track batch-norm statistics over some images.

    hypnettorch initialises plain tensors (batch-norm scales too) with N(0, 0.02^2): signals would die out. Here
    generated and plain kernels get He initialisation's variance, and scales vary around 1.
    """
    case = ensemble.case
    with torch.no_grad():
        for parameter in ensemble.hnet.parameters():
            if parameter.ndim == 4:
                nn.init.kaiming_normal_(parameter)
            elif parameter.ndim == 1:
                parameter.normal_(0.0, 0.1)
            elif tuple(parameter.shape) == (case.num_classes, _features(case)):
                parameter.normal_(0.0, _features(case) ** -0.5)
            elif parameter.shape[0] > 100:  # an internal hypernetwork's last layer: the product has a kernel's size
                parameter.normal_(0.0, (2.0 / (9 * _features(case) * parameter.shape[1])) ** 0.5)
            else:
                parameter.normal_(0.0, 1.0)
        _around_one(ensemble)
        if case.use_batch_norm and case.bn_track_stats:
            _track(ensemble)


def _features(case: Case) -> int:
    return case.num_feature_maps[3] * case.k


def _around_one(ensemble: Ensemble) -> None:
    """Add 1 to every batch-norm scale that is a tensor of its own."""
    if not ensemble.case.use_batch_norm:
        return
    scales: set[int] = set()
    norms = 2 * len(ensemble.mnet.batchnorm_layers)
    for member in range(ensemble.case.members):
        scales |= {tensor.data_ptr() for tensor in ensemble.weights(member)[:norms:2]}
    for parameter in [*ensemble.hnet.parameters(), *ensemble.mnet.parameters()]:
        if parameter.data_ptr() in scales:
            parameter.add_(1.0)


def _track(ensemble: Ensemble) -> None:
    """Run images through the network in training mode, as training does, for each set of statistics."""
    case, mnet = ensemble.case, ensemble.mnet
    layers = mnet.batchnorm_layers
    for _ in range(1, case.statistics):
        for layer in layers:
            layer.checkpoint_stats()
    mnet.train()
    for number in range(case.statistics):
        members = [number] if case.statistics > 1 else range(min(case.members, 3))
        for member in members:
            for step in range(2):
                condition = number if case.statistics > 1 else None
                images = flat_hwc(ensemble.images(4 + step))
                mnet.forward(images, weights=ensemble.weights(member), condition=condition)
    mnet.eval()
