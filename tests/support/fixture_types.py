"""The types of what shared fixtures give, where it is a function."""

import subprocess
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor
from zygote import Done

from hnexport.networks.wide_resnet.pipeline import Pipeline
from hnexport.networks.wide_resnet.spec import PipelineSpec, WideResNetSpec


class MakeNetwork(Protocol):
    def __call__(self, **changes: Any) -> WideResNetSpec: ...


class MakeSpec(Protocol):
    def __call__(self, **changes: Any) -> PipelineSpec: ...


class MakeTensors(Protocol):
    def __call__(self, spec: PipelineSpec, seed: int = 0, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]: ...


class MakePipeline(Protocol):
    def __call__(self, spec: PipelineSpec, seed: int = 0, dtype: torch.dtype = torch.float32) -> Pipeline: ...


class MakeImages(Protocol):
    def __call__(
        self, spec: PipelineSpec, batch: int = 2, seed: int = 0, dtype: torch.dtype = torch.float32
    ) -> Tensor: ...


class BuiltOnce(Protocol):
    """The bundle of one of a folder's specifications."""

    def __call__(self, name: str = "hypernet") -> Path: ...


class Hnexport(Protocol):
    """Run `hnexport ARGUMENTS`; further options are those of `subprocess.run`."""

    def __call__(
        self, *arguments: object, fresh: bool = False, **options: Any
    ) -> "Done | subprocess.CompletedProcess[str]": ...


AskedSessions: TypeAlias = list[tuple[str, dict[str, str]]]
"""For each session that was asked of CUDA, its file's name and its options."""
