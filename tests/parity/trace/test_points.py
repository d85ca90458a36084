"""A reference's points: what outputs depend on, by the paths of modules, whatever the inputs are."""

import torch
from module_ensembles import BRANCHING, ENSEMBLES
from torch import Tensor, nn
from torch.nn import functional as F

from hnexport.ensemble import Ensemble
from hnexport.parity.trace.points import reference_points


def ensemble_of(module: nn.Module, **inputs: Tensor) -> Ensemble:
    return Ensemble.from_modules([module.eval()], example_inputs=inputs)


def points_of(module: nn.Module, **inputs: Tensor) -> list[tuple[str, str]]:
    ensemble = ensemble_of(module, **inputs)
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
    found = reference_points(ensemble, ensemble.weights(0), arrays)
    return [(point.place, point.operation) for point in found.points]


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.inner, self.act = nn.Embedding(5, 4), nn.Linear(4, 4), nn.Tanh()

    def forward(self, index: Tensor, scale: Tensor) -> Tensor:
        scale = scale * 2
        hidden = self.act(F.relu(self.inner(self.table(index))))
        unused = hidden.exp()
        parts = torch.cat([hidden, hidden * scale], dim=1)
        parts[:, 0] = scale[:, 0]
        assert unused is not None
        return parts


def test_a_place_is_the_path_of_the_module_that_computes_it() -> None:
    index, scale = torch.tensor([1, 2]), torch.rand(2, 1)
    found = points_of(Small(), index=index, scale=scale)
    assert found[0] == ("preprocess", "mul")
    assert ("table", "embedding") in found
    assert ("act", "tanh") in found
    assert ("network", "cat") in found
    assert [place for place, operation in found if operation == "relu"] == ["inner"]


def test_a_value_that_no_output_needs_is_no_point() -> None:
    found = points_of(Small(), index=torch.tensor([1, 2]), scale=torch.rand(2, 1))
    assert "exp" not in {operation for _, operation in found}


def test_what_is_written_in_place_is_followed() -> None:
    ensemble = ensemble_of(Small(), index=torch.tensor([1, 2]), scale=torch.rand(2, 1))
    arrays = {"index": torch.tensor([1, 2]).numpy(), "scale": torch.rand(2, 1).numpy()}
    points = reference_points(ensemble, ensemble.weights(0), arrays).points
    written = next(number for number, point in enumerate(points) if point.operation == "copy_")
    assert points[written].inputs


def test_every_output_and_input_is_known_by_name() -> None:
    ensemble, inputs = ENSEMBLES["reader"].ensemble(), ENSEMBLES["reader"].inputs(2, 0)
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
    double = ensemble.double()
    found = reference_points(double, double.weights(0), arrays)
    assert tuple(found.outputs) == ("logits", "decoded", "choice")
    assert found.outputs["choice"].dtype.kind == "i"
    assert all(point.value.dtype == "float64" for point in found.points)
    assert "classify" in {point.place for point in found.points}


def test_a_branch_that_is_taken_is_one_operation() -> None:
    torch._dynamo.reset()  # what other tests compiled is in the way of another capture of `torch.cond`
    ensemble = BRANCHING.ensemble()
    arrays = {name: tensor.numpy() for name, tensor in BRANCHING.inputs(2, 0).items()}
    found = reference_points(ensemble, ensemble.weights(0), arrays).points
    assert [point.operation for point in found] == ["cond", "sum", "cond"]
    assert [point.inputs for point in found] == [(), (), (0, 1)]
