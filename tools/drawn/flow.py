"""docs/pictures/flow.svg: from an ensemble to a verified bundle and the runtimes that load it."""

import html
from dataclasses import dataclass
from pathlib import Path

WIDTH, HEIGHT = 1000, 330
FONT = "system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"
LABEL = "hnexport: from an ensemble to a verified bundle and the runtimes that load it"
COLOURS = {  # fill, outline
    "given": ("#f9fafb", "#9ca3af"),
    "made": ("#eff6ff", "#60a5fa"),
    "proof": ("#fffbeb", "#fbbf24"),
    "result": ("#f0fdf4", "#4ade80"),
}


@dataclass(frozen=True, kw_only=True)
class Box:
    """A box with a title and lines of text, in pixels from the upper left corner."""

    x: int
    y: int
    width: int
    height: int
    colour: str
    title: str
    lines: tuple[str, ...]

    def drawn(self) -> str:
        """As SVG."""
        fill, outline = COLOURS[self.colour]
        middle = self.x + self.width / 2
        text = _text(middle, self.y + 24, self.title, 'font-weight="600" font-size="15" fill="#1f2937"')
        for number, line in enumerate(self.lines):
            text += _text(middle, self.y + 46 + 18 * number, line, 'font-size="12.5" fill="#4b5563"')
        frame = f'x="{self.x}" y="{self.y}" width="{self.width}" height="{self.height}" rx="10"'
        return f'<rect {frame} fill="{fill}" stroke="{outline}" stroke-width="1.5"/>{text}'


BOXES = (
    Box(
        x=20, y=30, width=190, height=104, colour="given", title="ensemble",
        lines=("hypnettorch, a checkpoint,", "a list of modules, any module", "with a recipe, your own code"),
    ),
    Box(
        x=262, y=30, width=200, height=104, colour="made", title="two halves",
        lines=("a generator makes", "a network's weights", "(cond_id, inputs) -> outputs"),
    ),
    Box(
        x=514, y=30, width=170, height=104, colour="made", title="capture",
        lines=("torch.export, once", "dynamic batch", "guard for unknown ids"),
    ),
    Box(
        x=736, y=18, width=244, height=128, colour="made", title="files",
        lines=(
            "model.onnx, ensemble.onnx,",
            "hypernet.onnx, network.onnx",
            "model.pt (TorchScript)",
            "model.pt2 (torch.export)",
        ),
    ),
    Box(
        x=736, y=198, width=244, height=104, colour="proof", title="parity",
        lines=("every member, every file,", "several batch sizes and inputs,", "against PyTorch in float64"),
    ),
    Box(
        x=464, y=198, width=216, height=104, colour="result", title="bundle",
        lines=("files, manifest, golden samples", "published whole,", "or not at all"),
    ),
    Box(
        x=20, y=198, width=402, height=104, colour="given", title="runtimes",
        lines=(
            "onnxruntime (Python, C++, Node, browser) · libtorch",
            "OpenVINO · TensorRT · Triton",
            "hnexport.runtime: numpy + onnxruntime + safetensors only",
        ),
    ),
)  # fmt: skip
ARROWS = (
    "M210 82 L262 82",
    "M462 82 L514 82",
    "M684 82 L736 82",
    "M858 146 L858 198",
    "M736 250 L680 250",
    "M464 250 L422 250",
)
REFERENCE = "M362 134 L362 166 L800 166 L800 198"


def draw(target: Path) -> None:
    """Write the picture."""
    small = 'font-size="12" fill="#4b5563"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="{FONT}" role="img" aria-label="{LABEL}">',
        '<defs><marker id="a" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path d="M0 0 L10 5 L0 10 z" fill="#4b5563"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        *(box.drawn() for box in BOXES),
        *(_arrow(path, 'stroke-width="1.8"') for path in ARROWS),
        _arrow(REFERENCE, 'stroke-width="1.5" stroke-dasharray="5 4"'),
        _text(708, 242, "passed", small),
        _text(560, 184, "the reference: the same two halves in float64", small),
        "</svg>",
    ]
    target.write_text("\n".join(parts) + "\n", encoding="utf-8")


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="middle" {style}>{html.escape(text)}</text>'


def _arrow(path: str, style: str) -> str:
    return f'<path d="{path}" stroke="#4b5563" {style} fill="none" marker-end="url(#a)"/>'
