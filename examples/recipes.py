"""A small vision transformer as a hypernetwork ensemble: a recipe, training, and a verified bundle, in a minute.

    python examples/recipes.py [--out FOLDER]
    hnexport build --from examples/recipes.py:make --input image=float32[batch,1,8,8] --output logits=logits

Four members share patches and positions. The weights of their blocks come from a hypernetwork, their norms and heads
are their own. The hypernetwork is trained as it is, on pictures of a bar that lies or stands.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hnexport import Ensemble, ModuleRecipe, Rule
from hnexport.build import build
from hnexport.runtime import load

MEMBERS = 4
RECIPE = ModuleRecipe(
    rules=(
        Rule("blocks.*.norm?.*", "member"),
        Rule("blocks.*", "generated"),
        Rule("head.*", "member"),
        Rule("*", "shared"),
    ),
    embedding_size=4,
)


class Block(nn.Module):
    """Attention and an MLP, norms before them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, patch, width]`, in and out."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(2, (3, 2, -1)).permute(2, 0, 3, 1, 4)  # two heads
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """`image: float32 [batch, 1, 8, 8] -> logits [batch, 2]`."""

    def __init__(self, width: int = 16, blocks: int = 2) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 2, 2)
        self.positions = nn.Parameter(torch.randn(1, 16, width) * 0.1)
        self.blocks = nn.Sequential(*[Block(width) for _ in range(blocks)])
        self.head = nn.Linear(width, 2)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of pictures."""
        x = self.patches(image).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.blocks(x).mean(1))


def make() -> tuple[nn.Module, ModuleRecipe, int]:
    """What `--from` takes: a module with a recipe, and how many members."""
    torch.manual_seed(0)
    return VisionTransformer().eval(), RECIPE, MEMBERS


def main() -> None:
    parser = argparse.ArgumentParser(description="A module with a recipe, trained and exported.")
    parser.add_argument("--out", type=Path, help="where the bundle is kept; default: a temporary folder")
    arguments = parser.parse_args()
    module, recipe, members = make()
    ensemble = Ensemble.from_recipe(
        module,
        recipe,
        members=members,
        example_inputs=torch.zeros(1, 1, 8, 8),
        outputs={"logits": "logits"},
        origin="examples/recipes.py",
    )
    train(ensemble)
    with tempfile.TemporaryDirectory() as temporary:
        loaded = load(build(ensemble, (arguments.out or Path(temporary)) / ensemble.name).path)
        image, label = pictures(64)
        for member in range(members):
            found = loaded.predict(image.numpy(), member=member).argmax(1)
            print(f"member {member}: {(found == label.numpy()).mean():.0%} right")


def train(ensemble: Ensemble) -> None:
    """Each step trains every member, through the generator that they share."""
    module = ensemble.trainable().train()
    optimiser = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(40):
        image, label = pictures(32)
        losses = [F.cross_entropy(module(member, {"image": image})["logits"], label) for member in range(MEMBERS)]
        optimiser.zero_grad()
        torch.stack(losses).sum().backward()
        optimiser.step()
    module.eval()


def pictures(count: int) -> tuple[Tensor, Tensor]:
    """A bar in noise that lies (0) or stands (1)."""
    label, image = torch.randint(0, 2, (count,)), torch.randn(count, 1, 8, 8) * 0.3
    for number, place in enumerate(torch.randint(0, 8, (count,)).tolist()):
        row = image[number, 0]
        (row if label[number] == 0 else row.t())[place] += 1.0
    return image, label


if __name__ == "__main__":
    main()
