"""Padded transformers of PyTorch: their fused kernels take nested tensors, which nothing here can follow."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hnexport.build import BuildOptions, build
from hnexport.bundle.golden import read_golden
from hnexport.bundle.manifest import Format
from hnexport.ensemble import Ensemble
from hnexport.parity import compute_golden
from hnexport.spec.kinds import Logits


class Padded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 8, batch_first=True), 1)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens: Tensor, padding: Tensor) -> Tensor:
        found = self.encoder(self.embedding(tokens), src_key_padding_mask=padding)
        return self.head(found.masked_fill(padding.unsqueeze(-1), 0.0).sum(1))


def test_the_reference_of_a_padded_encoder_is_computed_without_fused_kernels() -> None:
    torch.manual_seed(0)
    tokens, padding = torch.arange(10).reshape(2, 5), torch.tensor([[0, 0, 0, 0, 0], [0, 0, 0, 1, 1]]).bool()
    ensemble = Ensemble.from_modules(
        [Padded().eval(), Padded().eval()], example_inputs=(tokens, padding), outputs={"logits": Logits(axis=1)}
    )
    inputs = {"tokens": tokens.numpy(), "padding": padding.numpy()}
    golden = compute_golden(ensemble, (0, 1), inputs, ("whole", "padded"))
    assert golden.eager["logits"].max() < 1e-5
    assert torch.backends.mha.get_fastpath_enabled()


class Shown(Padded):
    """The layer alone, and a mask of what is shown instead of what is not."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)  # type: ignore[assignment] # replaced on purpose

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        found = self.encoder(self.embedding(tokens), src_key_padding_mask=~mask)
        return self.head((found * mask[..., None]).sum(1) + found[:, 0])


@pytest.mark.thorough
def test_an_encoder_whose_mask_shows_nothing_at_all_in_one_sample_is_built(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokens, mask = torch.arange(10).reshape(2, 5), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool()
    ensemble = Ensemble.from_modules([Shown().eval(), Shown().eval()], example_inputs=(tokens, mask))
    built = build(ensemble, tmp_path / "bundle", options=BuildOptions(formats=(Format.ONNX,)))
    assert built.parity.passed
    assert not built.parity.left_out
    shown = read_golden(tmp_path / "bundle").inputs["mask"].any(1)
    assert shown.any()
    assert not shown.all()
