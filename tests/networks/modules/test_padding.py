"""Padded transformers of PyTorch: their fused kernels take nested tensors, which nothing here can follow."""

import torch
from torch import Tensor, nn

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
