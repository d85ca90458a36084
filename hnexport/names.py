"""File names and reserved tensor names of a bundle, and the documentation's address, once. Standard library only."""

__all__ = [
    "CARD_FILE",
    "COND_ID",
    "COND_IDS",
    "DOCUMENTATION",
    "ENSEMBLE_FILE",
    "EXTREME",
    "GENERATOR_PREFIX",
    "GOLDEN_FILE",
    "GUARD",
    "HYPERNET_FILE",
    "LEGACY_SUPPLIED",
    "MANIFEST_FILE",
    "MEMBER_MARK",
    "MEMBER_PREFIX",
    "MODEL_FILE",
    "NETWORK_FILE",
    "PAGE_FILE",
    "PARITY_FILE",
    "PT2_FILE",
    "RESERVED",
    "SHARED_PREFIX",
    "SUPPLIED_FILE",
    "TORCHSCRIPT_FILE",
    "WEIGHTS_FILE",
    "documented",
]

MANIFEST_FILE = "manifest.json"
"""What a bundle holds, how to call it, and the checksum of every file."""
GOLDEN_FILE = "golden.safetensors"
"""The reference inputs and outputs in a bundle."""
PARITY_FILE = "parity.json"
"""The report of parity in a bundle."""
PAGE_FILE = "report.html"
CARD_FILE = "README.md"
"""The model card: it lies beside what the manifest lists, since people complete it where models are published."""

MODEL_FILE = "model.onnx"
ENSEMBLE_FILE = "ensemble.onnx"
HYPERNET_FILE = "hypernet.onnx"
NETWORK_FILE = "network.onnx"
WEIGHTS_FILE = "weights.bin"
TORCHSCRIPT_FILE = "model.pt"
PT2_FILE = "model.pt2"

SUPPLIED_FILE = "member.bin"
"""The file of tensors that the loader of `network.onnx` supplies; no bundle holds it."""
LEGACY_SUPPLIED = "supplied-at-load"
"""Its name in bundles of hnexport 0.1."""

COND_ID = "cond_id"
COND_IDS = "cond_ids"
RESERVED = frozenset({COND_ID, COND_IDS})
"""Names that neither inputs and outputs of a network nor its slots can have."""

GUARD = "cond_id/guard"
"""The generator's further output: float32 `[1]`, 0 where the member exists and NaN where it does not."""

MEMBER_MARK = "hnexport.member"
"""The metadata key of a file that is one member by itself: its value is the member."""

EXTREME = "extreme"
"""The kind of golden sample that has the largest numbers."""

GENERATOR_PREFIX = "generator."
"""Where the joint capture keeps the stored tensors."""
SHARED_PREFIX = "shared."
"""Of a stored tensor that is one slot's, the same for all members."""
MEMBER_PREFIX = "member."
"""Of a stored tensor that is one slot's, with the member as its first axis."""

DOCUMENTATION = "https://hnexport.github.io/hnexport/"
"""Where the pages of docs/ are read; pyproject.toml says the same."""


def documented(page: str) -> str:
    """The address of a page of the documentation, `howto/from` or `howto/from#a-heading`, for messages and help.

    Whoever installed a wheel has no folder `docs`.
    """
    name, mark, anchor = page.partition("#")
    return f"{DOCUMENTATION}{name}.html{mark}{anchor}"
