"""Programs on another device than the one of their capture. PyTorch's `meta` device stands for it: it mixes with no
other, and has the kernels' shapes without their numbers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from module_ensembles import ENSEMBLES
from thorough import first
from torch import nn

from hnexport.ensemble import Ensemble
from hnexport.export.capture import capture
from hnexport.export.pt2 import write_pt2
from hnexport.export.torchscript import write_torchscript
from hnexport.names import COND_ID
from hnexport.parity.limits import FULL
from hnexport.parity.signature import GraphSignature
from hnexport.parity.tolerances import CUDNN_RECURRENT_FLOOR
from hnexport.parity.torch_calls import has_recurrent
from hnexport.parity.torch_program import TorchProgram
from hnexport.parity.torch_runners import TorchRunner, load_torch
from hnexport.spec import TensorSpec

FILES = ("model.pt", "model.pt2")


@pytest.fixture(scope="module", params=first(1, ["cnn", "recurrent", "transformer", "resnet", "reader"]))
def programs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Ensemble, Path]:
    """The kind of list, its ensemble, and its files."""
    kind, folder = ENSEMBLES[request.param], tmp_path_factory.mktemp("programs")
    ensemble = kind.ensemble()
    captured = capture(ensemble)
    write_torchscript(captured, folder / "model.pt")
    write_pt2(captured, folder / "model.pt2")
    return request.param, ensemble, folder


@pytest.mark.parametrize("file", FILES)
def test_everything_moves_to_the_device_that_is_asked_for(programs: tuple[Any, Ensemble, Path], file: str) -> None:
    name, ensemble, folder = programs
    module = load_torch((folder / file).read_bytes(), file, "meta")
    inputs = [tensor.to("meta") for tensor in ENSEMBLES[name].inputs(3, 1).values()]
    with torch.no_grad():
        found = module(torch.tensor(1, device="meta"), *inputs)
    outputs = [found] if isinstance(found, torch.Tensor) else list(found)
    assert {str(output.device) for output in outputs} == {"meta"}
    assert [len(output) for output in outputs] == [3] * len(ensemble.signature.outputs)


@pytest.mark.parametrize("file", FILES)
def test_no_strides_are_baked_in(programs: tuple[str, Ensemble, Path], file: str) -> None:
    """A `view` fails where another device's kernel returns its result in another order."""
    _, _, folder = programs
    module = load_torch((folder / file).read_bytes(), file, "cpu")
    if isinstance(module, torch.jit.ScriptModule):
        assert not module.inlined_graph.findAllNodes("aten::view", recurse=True)  # type: ignore[attr-defined] # what a test or a tool reaches for there
    else:
        assert torch.ops.aten.view.default not in [node.target for node in module.graph.nodes]


@pytest.mark.parametrize("file", FILES)
def test_the_coarse_functions_of_cudnn_are_known(programs: tuple[Any, Ensemble, Path], file: str) -> None:
    name, ensemble, folder = programs
    module = load_torch((folder / file).read_bytes(), file, "cpu")
    assert has_recurrent(module) == (name == "recurrent")
    if name == "recurrent":
        signature = _graph_signature(ensemble)
        assert TorchProgram(file, module, signature, "cpu").limits.functions == FULL.functions < CUDNN_RECURRENT_FLOOR


@pytest.mark.thorough
def test_the_tensors_of_fused_layers_are_seen(tmp_path: Path) -> None:
    """On a GPU TorchScript compiles batch norm and ReLU into one kernel; here its fuser for CPUs is made to."""
    kind = ENSEMBLES["resnet"]
    ensemble = kind.ensemble()
    inputs = {name: tensor.numpy() for name, tensor in kind.inputs(1, 1).items()}
    write_torchscript(capture(ensemble), tmp_path / "model.pt")
    on_cpu, llvm = torch._C._jit_can_fuse_on_cpu(), torch._C._jit_get_te_must_use_llvm_cpu()  # type: ignore[attr-defined] # what a test or a tool reaches for there
    torch._C._jit_override_can_fuse_on_cpu(True)
    torch._C._jit_set_te_must_use_llvm_cpu(False)
    try:
        runner = TorchRunner((tmp_path / "model.pt").read_bytes(), "model.pt", _graph_signature(ensemble))
        for _ in range(4):
            runner.run(1, inputs)
        assert "TensorExprGroup" in str(torch.jit.last_executed_optimized_graph())
        names = [call.name for call in runner.weights(1, inputs).calls]
        norms = [part for part in kind.modules()[0].modules() if isinstance(part, nn.BatchNorm2d)]
        assert sum("batch_norm" in name for name in names) == len(norms)
        runner.run(1, inputs)
        assert torch._C._jit_can_fuse_on_cpu()
    finally:
        torch._C._jit_override_can_fuse_on_cpu(on_cpu)
        torch._C._jit_set_te_must_use_llvm_cpu(llvm)


def _graph_signature(ensemble: Ensemble) -> GraphSignature:
    cond_id = TensorSpec(name=COND_ID, dtype="int64", shape=())
    return GraphSignature(inputs=(cond_id, *ensemble.signature.inputs), outputs=ensemble.signature.outputs)
