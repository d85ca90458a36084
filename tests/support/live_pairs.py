"""Live pairs of hypnettorch: the hypernetworks and main networks that public code puts together, and the others.

Networks are small, and as after training: nothing is zero, one or equal by chance of initialisation.
"""

import contextlib
import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from hnexport.ensemble import Ensemble

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # invalid escapes in hypnettorch's own sources, when they are first compiled
    from hypnettorch.hnets import HMLP, ChunkedHMLP, HContainer, HPerturbWrapper, StructuredHMLP
    from hypnettorch.hnets.structured_hmlp_examples import resnet_chunking, wrn_chunking
    from hypnettorch.mnets import (
        MLP,
        WRN,
        BioConvNet,
        BiRNN,
        ChunkSqueezer,
        LeNet,
        ResNet,
        ResNetIN,
        SimpleRNN,
        ZenkeNet,
    )

MEMBERS = 3
_QUIET = {"no_weights": True, "verbose": False}
_SMALL = {"in_shape": (16, 16, 3), "num_classes": 10, **_QUIET}
_RNN = {"n_in": 8, "rnn_layers": [12], "fc_layers": [10], **_QUIET}

MAIN_NETWORKS: Mapping[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "WRN": (lambda: WRN(n=1, k=1, use_bias=False, use_fc_bias=True, **_SMALL), (768,)),
    "WRN with context modulation": (
        lambda: WRN(n=1, k=1, use_bias=False, use_fc_bias=True, use_context_mod=True, **_SMALL),
        (768,),
    ),
    "ResNet": (lambda: ResNet(n=1, use_bias=False, num_feature_maps=[8, 8, 16, 32], **_SMALL), (768,)),
    "ResNet without batch norm": (
        lambda: ResNet(n=1, use_batch_norm=False, num_feature_maps=[8, 8, 16, 32], **_SMALL),
        (768,),
    ),
    "ResNetIN": (
        lambda: ResNetIN(
            in_shape=(32, 32, 3),
            num_classes=10,
            use_bias=False,
            num_feature_maps=(4, 4, 4, 8, 8),
            blocks_per_group=(1, 1, 1, 1),
            **_QUIET,
        ),
        (3072,),
    ),
    "LeNet": (lambda: LeNet(in_shape=(28, 28, 1), num_classes=10, arch="mnist_small", **_QUIET), (784,)),
    "LeNet for CIFAR": (lambda: LeNet(in_shape=(32, 32, 3), num_classes=10, arch="cifar", **_QUIET), (3072,)),
    "ZenkeNet": (lambda: ZenkeNet(in_shape=(32, 32, 3), num_classes=10, dropout_rate=0.25, **_QUIET), (3072,)),
    "BioConvNet": (lambda: BioConvNet(in_shape=(32, 32, 3), num_classes=10, no_weights=True), (3072,)),
    "MLP": (lambda: MLP(n_in=16, n_out=10, hidden_layers=[12, 12], **_QUIET), (16,)),
    "MLP with batch norm": (lambda: MLP(n_in=16, n_out=10, hidden_layers=[12], use_batch_norm=True, **_QUIET), (16,)),
    "MLP with context modulation": (
        lambda: MLP(n_in=16, n_out=10, hidden_layers=[12], use_context_mod=True, **_QUIET),
        (16,),
    ),
    "ChunkSqueezer": (lambda: ChunkSqueezer(n_in=64, n_out=10, inp_chunk_dim=16, **_QUIET), (64,)),
    "SimpleRNN": (lambda: SimpleRNN(**_RNN), (5, 8)),
    "SimpleRNN, LSTM": (lambda: SimpleRNN(use_lstm=True, **_RNN), (5, 8)),
    "BiRNN": (
        lambda: BiRNN(
            rnn_args={"n_in": 8, "rnn_layers": [6], "fc_layers": [], **_QUIET},
            mlp_args={"n_in": 12, "n_out": 10, "hidden_layers": [], **_QUIET},
            **_QUIET,
        ),
        (5, 8),
    ),
}
"""What makes each, and the shape of a sample."""


def hmlp(mnet: Any, **changes: Any) -> nn.Module:
    large = mnet.num_params > 100_000
    return HMLP(mnet.param_shapes, cond_in_size=5, layers=[2 if large else 7], num_cond_embs=MEMBERS, **_V, **changes)


_V = {"verbose": False}


def chunked(mnet: Any, shapes: Any = None) -> nn.Module:
    given = mnet.param_shapes if shapes is None else shapes
    return ChunkedHMLP(given, 500, chunk_emb_size=4, cond_in_size=5, layers=[7], num_cond_embs=MEMBERS, **_V)


def chunked_by_member(mnet: Any) -> nn.Module:
    return ChunkedHMLP(
        mnet.param_shapes,
        500,
        chunk_emb_size=4,
        cond_in_size=0,
        cond_chunk_embs=True,
        layers=[7],
        num_cond_embs=MEMBERS,
        **_V,
    )


def chunked_of_a_vector(mnet: Any) -> nn.Module:
    return ChunkedHMLP(mnet.param_shapes, 500, chunk_emb_size=4, cond_in_size=0, uncond_in_size=4, layers=[7], **_V)


def structured(
    shapes: Any, chunking: Any, size: int = 4, by_member: bool = True, cond: int = 0, uncond: int = 0, **settings: Any
) -> nn.Module:
    chunk_shapes, counts, assembly = chunking
    return StructuredHMLP(
        shapes,
        chunk_shapes,
        counts,
        size,
        settings,
        assembly,
        cond_chunk_embs=by_member,
        uncond_in_size=uncond,
        cond_in_size=cond,
        num_cond_embs=MEMBERS,
        **_V,
    )


def one_chunk_a_tensor(mnet: Any) -> nn.Module:
    shapes = mnet.param_shapes
    return structured(
        shapes,
        ([[shape] for shape in shapes], [1] * len(shapes), lambda chunks: [t for chunk in chunks for t in chunk]),
        layers=[7],
    )


def of_resnet(mnet: Any, *, gcd: bool = False, **changes: Any) -> nn.Module:
    return structured(mnet.param_shapes, resnet_chunking(mnet, gcd_chunking=gcd), layers=[7, 6], **changes)


def of_wrn(mnet: Any, *, gcd: bool = False, **changes: Any) -> tuple[nn.Module, int]:
    chunking = wrn_chunking(mnet, ignore_bn_weights=True, ignore_out_weights=True, gcd_chunking=gcd)
    norms = 2 * len(mnet.batchnorm_layers)
    settings = {"layers": [], "use_bias": False, **changes}
    return structured(mnet.param_shapes[norms:-2], chunking, **settings), norms


def container(mnet: Any, assembly: Any = None, **changes: Any) -> nn.Module:
    inner, norms = of_wrn(mnet, **changes)
    return HContainer(
        mnet.param_shapes,
        assembly or (lambda generated, shared, own: shared + generated[0] + own),
        hnets=[inner],
        uncond_param_shapes=mnet.param_shapes[:norms],
        cond_param_shapes=mnet.param_shapes[-2:],
        num_cond_embs=MEMBERS,
        **_V,
    )


def container_of_two(mnet: Any) -> nn.Module:
    inner, norms = of_wrn(mnet)
    head = HMLP(mnet.param_shapes[-2:], cond_in_size=5, layers=[], num_cond_embs=MEMBERS, **_V)
    return HContainer(
        mnet.param_shapes,
        lambda generated, shared, own: shared + generated[0] + generated[1],
        hnets=[inner, head],
        uncond_param_shapes=mnet.param_shapes[:norms],
        num_cond_embs=MEMBERS,
        **_V,
    )


def with_heads(make: Callable[[Any], nn.Module]) -> Callable[[Any], nn.Module]:
    def build(mnet: Any) -> nn.Module:
        shapes = mnet.param_shapes
        return HContainer(
            shapes,
            lambda generated, shared, own: generated[0] + own,
            hnets=[make(shapes[:-2])],
            cond_param_shapes=shapes[-2:],
            num_cond_embs=MEMBERS,
            **_V,
        )

    return build


def _hmlp_of(shapes: Any) -> nn.Module:
    return HMLP(shapes, cond_in_size=5, layers=[7], num_cond_embs=MEMBERS, **_V)


def batch_ensemble(mnet: Any) -> nn.Module:
    norms, shapes = 2 * len(mnet.batchnorm_layers), mnet.param_shapes
    return HContainer(
        shapes,
        lambda generated, shared, own: own[:norms] + shared + own[norms:],
        uncond_param_shapes=shapes[norms:-2],
        cond_param_shapes=shapes[:norms] + shapes[-2:],
        num_cond_embs=MEMBERS,
        **_V,
    )


def deep_ensemble(mnet: Any) -> nn.Module:
    return HContainer(
        mnet.param_shapes,
        lambda generated, shared, own: own,
        cond_param_shapes=mnet.param_shapes,
        num_cond_embs=MEMBERS,
        **_V,
    )


def perturbed(mnet: Any) -> nn.Module:
    return HPerturbWrapper(
        hmlp(mnet),
        hnet_uncond_in_size=0,
        sigma_noise=0.0,
        input_handler=lambda uncond_input=None, cond_input=None, cond_id=None: (uncond_input, cond_input, cond_id),
    )


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One pair.

    Attributes:
        hnet: makes the hypernetwork of a main network.
        mnet: a name in `MAIN_NETWORKS`.
        options: of `Ensemble.from_hypnettorch`.
        refused: what is said where it cannot be an ensemble.
    """

    hnet: Callable[[Any], nn.Module]
    mnet: str
    options: Mapping[str, Any] = field(default_factory=dict)
    refused: str = ""

    def modules(self, seed: int = 0) -> tuple[Any, Any]:
        """`(hnet, mnet)`, made anew."""
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(), torch.random.fork_rng():
            warnings.simplefilter("ignore", UserWarning)  # hypnettorch's, about embeddings that nobody asked for
            torch.manual_seed(seed)
            mnet = MAIN_NETWORKS[self.mnet][0]()
            hnet = self.hnet(mnet)
            trained(hnet, mnet)
        return hnet, mnet

    def samples(self, batch: int, seed: int = 0) -> Tensor:
        """Standard normal samples, the batch first."""
        random = torch.Generator().manual_seed(seed)
        return torch.randn(batch, *MAIN_NETWORKS[self.mnet][1], generator=random)

    def ensemble(self, seed: int = 0) -> Ensemble:
        """The ensemble of the modules."""
        return Ensemble.from_hypnettorch(*self.modules(seed), example_inputs=self.samples(2, 9), **self.options)

    def expected(self, hnet: Any, mnet: Any, member: int, samples: Tensor) -> Tensor:
        """hypnettorch's own outputs, the batch first, in the dtype of the modules."""
        turned = self.mnet in ("SimpleRNN", "SimpleRNN, LSTM", "BiRNN")
        given = {"uncond_input": self.options["uncond_input"].to(samples.dtype)} if self.options else {}
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a recurrent network's, about lengths that are not given
            x = samples.transpose(0, 1) if turned else samples
            found = mnet.forward(x, weights=hnet.forward(cond_id=member, **given))
        found = found[0] if isinstance(found, tuple) else found
        return found.transpose(0, 1) if turned else found


def trained(hnet: nn.Module, mnet: nn.Module) -> None:
    """As after training: vectors move a little, statistics are those of some data."""
    for parameter in dict.fromkeys([*hnet.parameters(), *mnet.parameters()]):  # in order: they are made anew
        if parameter.dim() == 1:
            parameter.data.add_(0.2 * torch.randn_like(parameter))
    part: Any
    for part in mnet.modules():
        if type(part).__name__ == "BatchNormLayer" and part.num_stats:
            for number in range(int(part.num_stats)):
                mean, variance = part.get_stats(number)
                mean.normal_(0, 0.3)
                variance.uniform_(0.5, 2)
    hnet.eval()
    mnet.eval()


_heads = with_heads(_hmlp_of)
_VECTOR = {"uncond_input": torch.tensor([[0.5, -1.0, 0.25, 2.0]])}

PUBLIC: dict[str, Pair] = {
    "HMLP, MLP": Pair(hnet=hmlp, mnet="MLP"),
    "HMLP, ResNet": Pair(hnet=hmlp, mnet="ResNet"),
    "HMLP, ZenkeNet": Pair(hnet=hmlp, mnet="ZenkeNet"),
    "HMLP, LeNet": Pair(hnet=hmlp, mnet="LeNet"),
    "ChunkedHMLP, MLP": Pair(hnet=chunked, mnet="MLP"),
    "ChunkedHMLP, ResNet": Pair(hnet=chunked, mnet="ResNet"),
    "ChunkedHMLP, ZenkeNet": Pair(hnet=chunked, mnet="ZenkeNet"),
    "ChunkedHMLP, LeNet": Pair(hnet=chunked, mnet="LeNet"),
    "HContainer with heads, SimpleRNN": Pair(hnet=_heads, mnet="SimpleRNN"),
    "StructuredHMLP of resnet_chunking, ResNet": Pair(hnet=of_resnet, mnet="ResNet"),
}
"""The pairs that public code has."""

OTHERS: dict[str, Pair] = {
    **{
        f"HMLP, {name}": Pair(hnet=hmlp, mnet=name)
        for name in MAIN_NETWORKS
        if f"HMLP, {name}" not in PUBLIC and name != "ChunkSqueezer"
    },
    "HMLP, ChunkSqueezer": Pair(hnet=hmlp, mnet="ChunkSqueezer", refused="torch.export cannot capture mnet"),
    **{f"ChunkedHMLP, {name}": Pair(hnet=chunked, mnet=name) for name in ("ResNetIN", "WRN", "SimpleRNN")},
    "ChunkedHMLP by member, ResNet": Pair(hnet=chunked_by_member, mnet="ResNet"),
    "ChunkedHMLP by member, WRN": Pair(hnet=chunked_by_member, mnet="WRN"),
    "ChunkedHMLP of a vector, MLP": Pair(hnet=chunked_of_a_vector, mnet="MLP", refused="hnet"),
    "StructuredHMLP, one chunk a tensor, MLP": Pair(hnet=one_chunk_a_tensor, mnet="MLP"),
    "StructuredHMLP, one chunk a tensor, ResNet": Pair(hnet=one_chunk_a_tensor, mnet="ResNet"),
    "StructuredHMLP of resnet_chunking, gcd, ResNet": Pair(hnet=lambda m: of_resnet(m, gcd=True), mnet="ResNet"),
    "StructuredHMLP of resnet_chunking, embeddings, ResNet": Pair(
        hnet=lambda m: of_resnet(m, by_member=False, cond=5), mnet="ResNet"
    ),
    "HContainer, WRN": Pair(hnet=container, mnet="WRN"),
    "HContainer, gcd, WRN": Pair(hnet=lambda m: container(m, gcd=True), mnet="WRN"),
    "HContainer, hidden layers, WRN": Pair(hnet=lambda m: container(m, layers=[7], use_bias=True), mnet="WRN"),
    "HContainer, shared chunks, WRN": Pair(hnet=lambda m: container(m, by_member=False, cond=5), mnet="WRN"),
    "HContainer, embeddings, WRN": Pair(hnet=lambda m: container(m, cond=5), mnet="WRN"),
    "HContainer, unconditional input, WRN": Pair(hnet=lambda m: container(m, uncond=4), mnet="WRN", options=_VECTOR),
    "HContainer, batch norm inside, WRN": Pair(
        hnet=lambda m: container(m, layers=[7], use_bias=True, use_batch_norm=True), mnet="WRN"
    ),
    "HContainer of two, WRN": Pair(hnet=container_of_two, mnet="WRN"),
    "batch ensemble, WRN": Pair(hnet=batch_ensemble, mnet="WRN"),
    "batch ensemble, ResNet": Pair(hnet=batch_ensemble, mnet="ResNet"),
    "deep ensemble, WRN": Pair(hnet=deep_ensemble, mnet="WRN"),
    "deep ensemble, MLP": Pair(hnet=deep_ensemble, mnet="MLP"),
    "HContainer with heads, MLP": Pair(hnet=_heads, mnet="MLP"),
    "HContainer with heads, ResNet": Pair(hnet=_heads, mnet="ResNet"),
    "HContainer with heads of ChunkedHMLP, WRN": Pair(
        hnet=with_heads(lambda shapes: chunked(None, shapes)), mnet="WRN"
    ),
    "HPerturbWrapper, MLP": Pair(hnet=perturbed, mnet="MLP", refused="hnet.forward.* fails"),
}
"""The others of the 48 that were tried by hand."""

PAIRS = {**PUBLIC, **OTHERS}
