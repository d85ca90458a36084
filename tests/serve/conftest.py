"""A service in this process over a small bundle, and one in a process of its own."""

import numpy as np
import pytest
from numpy.typing import NDArray
from serving import Ask, Started, asker, started_process
from shared import Built

from hnexport.runtime import LoadedEnsemble, load


@pytest.fixture(scope="session")
def ask(built: Built) -> Ask:
    """Run a coroutine of an `Asking` on a service over the small bundle; options are those of the service."""
    return asker(built.path)


@pytest.fixture(scope="session")
def direct(built: Built) -> LoadedEnsemble:
    """The runtime, called as the service calls it."""
    return load(built.path, provider="cpu", threads=1)


@pytest.fixture(scope="session")
def images(direct: LoadedEnsemble) -> NDArray[np.float32]:
    shape = direct.signature.inputs[0].row
    return np.random.default_rng(0).standard_normal((6, *shape)).astype(np.float32)


@pytest.fixture(scope="session")
def started() -> Started:
    """Start `hnexport serve`: a context manager that gives a `Process`."""
    return started_process
