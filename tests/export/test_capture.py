"""The capture of both halves, and their joint program."""

import dataclasses
from collections.abc import Mapping

import pytest
import torch
from ensembles import of_pipeline
from fixture_types import MakeImages, MakePipeline, MakeSpec
from torch import Tensor, nn

from hnexport.ensemble import Ensemble
from hnexport.errors import CaptureError
from hnexport.export import capture
from hnexport.networks.wide_resnet.storage import stored_tensors


def test_the_joint_program_computes_what_the_ensemble_computes_bit_for_bit(
    make_spec: MakeSpec, make_pipeline: MakePipeline, make_images: MakeImages
) -> None:
    spec = make_spec()
    ensemble, images = of_pipeline(make_pipeline(spec)), make_images(spec, batch=5)
    captured = capture(ensemble).joint.module()
    for member in range(spec.members):
        expected = ensemble(member, {"image": images})["logits"]
        assert torch.equal(captured(torch.tensor(member), images), expected)


def test_a_capture_holds_the_stored_tensors_and_nothing_else(make_spec: MakeSpec, make_pipeline: MakePipeline) -> None:
    spec = make_spec()
    pipeline = make_pipeline(spec)
    captured = capture(of_pipeline(pipeline))
    assert list(captured.tensors) == [stored.name for stored in stored_tensors(spec)]
    for name, tensor in captured.tensors.items():
        assert tensor.data_ptr() == pipeline.tensors()[name].data_ptr(), f"{name} was copied"
    assert len(captured.joint.state_dict) == len(captured.tensors)
    assert not captured.joint.constants


class _BakedIn(nn.Module):
    def __init__(self, generator: nn.Module, member: Tensor | None) -> None:
        super().__init__()
        self.inner, self.given = (generator,), member
        for name, part in generator.named_children():
            self.add_module(name, part)

    def forward(self, cond_id: Tensor) -> Mapping[str, Tensor]:
        return self.inner[0](torch.tensor(int(cond_id)) if self.given is None else self.given)


def _changed(ensemble: Ensemble, member: Tensor | None) -> Ensemble:
    return dataclasses.replace(ensemble, generator=_BakedIn(ensemble.generator, member).eval())


def test_a_condition_id_that_is_not_used_is_refused(make_spec: MakeSpec, make_pipeline: MakePipeline) -> None:
    ensemble = _changed(of_pipeline(make_pipeline(make_spec())), torch.tensor(1))
    with pytest.raises(CaptureError, match="does not use cond_id: it was baked in"):
        capture(ensemble)


def test_what_torch_export_refuses_is_a_capture_error_that_says_why(
    make_spec: MakeSpec, make_pipeline: MakePipeline
) -> None:
    with pytest.raises(CaptureError, match="torch.export could not capture the generator of"):
        capture(_changed(of_pipeline(make_pipeline(make_spec())), None))


def test_a_capture_names_no_folder_of_this_machine(make_spec: MakeSpec, make_pipeline: MakePipeline) -> None:
    for node in capture(of_pipeline(make_pipeline(make_spec()))).joint.graph.nodes:
        assert "stack_trace" not in node.meta
