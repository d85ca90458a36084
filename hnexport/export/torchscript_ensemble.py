"""The method `ensemble` of the TorchScript file, written for a signature: what `hnexport.export.summarise` computes."""

from collections.abc import Iterator

from hnexport.export.summarise import SMALLEST_NORMAL
from hnexport.names import COND_IDS
from hnexport.spec import OutputKind, OutputSpec, Signature
from hnexport.spec.summaries import summaries

__all__ = ["ensemble_source"]


def ensemble_source(signature: Signature) -> str:
    """Source of `ensemble(self, cond_ids, *inputs)`, which returns the tensors of `summaries(signature)` in order."""
    inputs = [item.name for item in signature.inputs]
    prefix = "_"
    while any(name.startswith(prefix) for name in inputs):  # names of its own
        prefix += "_"
    several, count = len(signature.outputs) > 1, len(signature.outputs)
    given = "".join(f", {name}" for name in inputs)
    lines = [f"{prefix}lists: List[List[Tensor]] = [{', '.join(['torch.jit.annotate(List[Tensor], [])'] * count)}]"]
    lines += [
        f"for {prefix}member in range({COND_IDS}.size(0)):",
        f"    {prefix}found = self.forward({COND_IDS}[{prefix}member]{given})",
        *(
            f"    {prefix}lists[{number}].append({prefix}found{f'[{number}]' if several else ''})"
            for number in range(count)
        ),
    ]
    returned: list[str] = []
    for number, output in enumerate(signature.outputs):
        own = f"{prefix}{number}_"
        lines.append(f"{own}all = torch.stack({prefix}lists[{number}])")
        returned.append(f"{own}all")
        if output.is_floating:
            made = _of_logits(output, own) if output.kind is OutputKind.LOGITS else _of_value(output, own)
            for name, line in made:
                lines.append(line)
                returned += [name] if name else []
    if len(returned) != len(summaries(signature)):
        raise ValueError(f"expected {len(summaries(signature))} summaries, wrote {len(returned)}")
    # A method that returns one value returns the tensor itself, so the comma makes it a tuple.
    lines.append(f"return ({', '.join(returned)},)")
    arguments = "".join(f", {name}: Tensor" for name in inputs)
    returns = f"Tuple[{', '.join(['Tensor'] * len(returned))}]"
    body = "".join(f"    {line}\n" for line in lines)
    return f"\ndef ensemble(self, {COND_IDS}: Tensor{arguments}) -> {returns}:\n{body}"


def _wide(output: OutputSpec) -> str:
    return "torch.float64" if output.dtype == "float64" else "torch.float32"


def _narrow(output: OutputSpec, expression: str) -> str:
    return expression if _wide(output) == f"torch.{output.dtype}" else f"({expression}).to(torch.{output.dtype})"


def _of_logits(output: OutputSpec, own: str) -> Iterator[tuple[str, str]]:
    """Lines, each with the name that is returned; the empty name for a step on the way."""
    axis = (output.axis or 0) - len(output.shape)
    tiny = repr(SMALLEST_NORMAL["float64" if output.dtype == "float64" else "float32"])
    yield "", f"{own}log_p = torch.log_softmax({own}all.to({_wide(output)}), {axis})"
    yield "", f"{own}p = {own}log_p.exp()"
    yield "", f"{own}q = {own}p.mean(0)"
    yield "", f"{own}log_q = torch.log(torch.where({own}q > {tiny}, {own}q, torch.full_like({own}q, {tiny})))"
    yield f"{own}mean", f"{own}mean = {_narrow(output, f'{own}q')}"
    predictive = f"-({own}q * {own}log_q).sum({axis})"
    yield f"{own}predictive", f"{own}predictive = {_narrow(output, predictive)}"
    information = f"({own}p * ({own}log_p - {own}log_q)).sum({axis}).mean(0).clamp(min=0.0)"
    yield f"{own}information", f"{own}information = {_narrow(output, information)}"


def _of_value(output: OutputSpec, own: str) -> Iterator[tuple[str, str]]:
    yield "", f"{own}wide = {own}all.to({_wide(output)})"
    yield "", f"{own}centre = {own}wide.mean(0)"
    yield f"{own}mean", f"{own}mean = {_narrow(output, f'{own}centre')}"
    variance = f"({own}wide - {own}centre).square().mean(0)"
    yield f"{own}variance", f"{own}variance = {_narrow(output, variance)}"
