"""ExecuTorch with XNNPACK: each member, by the example."""

from pathlib import Path

from runtimes.runtime import Run, Runtime


def load(path: Path) -> Run:
    """The method of the `.pte` that the example wrote."""
    import torch
    from executorch.runtime import Runtime as Executorch

    method = Executorch.get().load_program(path.with_suffix(".pte")).load_method("forward")
    return lambda *arrays: [output.numpy().copy() for output in method.execute([torch.from_numpy(a) for a in arrays])]


RUNTIME = Runtime(
    name="ExecuTorch, XNNPACK",
    file="plain.pt2",
    member=True,
    packages=("torch==2.13.0", "executorch"),
    version_of="executorch",
    load=load,
    predict=("{python}", "{examples}/executorch/predict.py", "{member}", "{golden}"),
)
