"""The one capture."""

import pytest
import torch
from torch import Tensor

from hnexport.errors import CaptureError
from hnexport.export import capture
from hnexport.export.capture import tracer_warnings_as_errors
from hnexport.networks.wide_resnet.pipeline import Pipeline
from hnexport.networks.wide_resnet.storage import stored_tensors


def test_a_capture_computes_what_the_pipeline_computes_bit_for_bit(make_spec, make_pipeline, make_images):
    spec = make_spec()
    pipeline, images = make_pipeline(spec), make_images(spec, batch=5)
    captured = capture(pipeline).program.module()
    for member in range(spec.members):
        assert torch.equal(captured(torch.tensor(member), images), pipeline(torch.tensor(member), images))


def test_a_capture_holds_the_stored_tensors_and_nothing_else(make_spec, make_pipeline):
    spec = make_spec()
    pipeline = make_pipeline(spec)
    captured = capture(pipeline)
    assert list(captured.tensors) == [stored.name for stored in stored_tensors(spec)]
    for name, tensor in captured.tensors.items():
        assert tensor.data_ptr() == pipeline.tensors()[name].data_ptr(), f"{name} was copied"
    assert len(captured.program.state_dict) == len(captured.tensors)
    assert not captured.program.constants


class _BakedIn(Pipeline):
    def forward(self, cond_id: Tensor, image: Tensor) -> Tensor:
        return super().forward(torch.tensor(1), image)


class _Refused(Pipeline):
    def forward(self, cond_id: Tensor, image: Tensor) -> Tensor:
        return super().forward(torch.tensor(int(cond_id)), image)


def test_a_condition_id_that_is_not_used_is_refused(make_spec, make_tensors):
    spec = make_spec()
    with pytest.raises(CaptureError, match="does not use cond_id: it was baked in"):
        capture(_BakedIn(spec, make_tensors(spec)))


def test_what_torch_export_refuses_is_a_capture_error_that_says_why(make_spec, make_tensors):
    spec = make_spec()
    with pytest.raises(CaptureError, match="torch.export could not capture"):
        capture(_Refused(spec, make_tensors(spec)))


def test_a_tracer_warning_is_an_error():
    with tracer_warnings_as_errors(), pytest.raises(torch.jit.TracerWarning, match="Iterating over a tensor"):
        torch.jit.trace(lambda x: sum(x), (torch.ones(2),))


def test_a_capture_names_no_folder_of_this_machine(make_spec, make_pipeline):
    for node in capture(make_pipeline(make_spec())).program.graph.nodes:
        assert "stack_trace" not in node.meta
