"""State dicts of the late-phase code compute what an oracle computes that was written from a description of it."""

from types import MappingProxyType

import pytest
import torch
from late_phase import PUBLISHED, LatePhase
from torch import Tensor

from hnexport.errors import CheckpointError
from hnexport.networks.wide_resnet.checkpoints import Checkpoint, import_late_phase
from hnexport.networks.wide_resnet.spec import RECIPES, ImageSpec, ShortcutInput
from hnexport.rows import relative_l2
from hnexport.spec import Chunking, Source

TOLERANCE = 1e-6
ALL = frozenset({"input_layer", "adapter", "conv_block", "head"})
NORMS = frozenset({"batchnorm"})
CASES = MappingProxyType(
    {
        "wrn-10-4": LatePhase(depth=10, width=4),
        "wrn-16-4": LatePhase(depth=16, width=4),
        "wrn-16-1": LatePhase(depth=16, width=1),
        "wrn-10-2, 100 classes, one channel": LatePhase(depth=10, width=2, classes=100, channels=1),
        "only the output layers": LatePhase(depth=10, width=2, shared=PUBLISHED | NORMS),
        "nothing is shared": LatePhase(depth=10, width=1, members=2, shared=frozenset()),
        "banks, wrn-10-4": LatePhase(depth=10, width=4, shared=NORMS, banks=ALL),
        "banks, wrn-16-4": LatePhase(depth=16, width=4, shared=frozenset(), banks=ALL),
        "banks, wrn-16-3": LatePhase(depth=16, width=3, shared=NORMS, banks=ALL),
        "banks, wrn-16-2": LatePhase(depth=16, width=2, shared=NORMS, banks=ALL),
        "banks, wrn-16-1": LatePhase(depth=16, width=1, shared=NORMS, banks=ALL),
        "banks that members share": LatePhase(depth=16, width=4, banks=ALL),
        "a bank of blocks": LatePhase(depth=16, width=4, shared=NORMS, banks=frozenset({"conv_block"})),
        "a bank of blocks, the rest shared": LatePhase(
            depth=16, width=4, shared=NORMS | {"adapter", "input_layer"}, banks=frozenset({"conv_block"})
        ),
        "a bank of adapters": LatePhase(
            depth=16, width=2, shared=frozenset({"input_layer"}), banks=frozenset({"adapter"})
        ),
        "coefficients that members share, and such that they do not": LatePhase(
            depth=16, width=3, shared=frozenset({"conv_block"}), banks=frozenset({"adapter", "conv_block"})
        ),
        "a bank of input layers": LatePhase(
            depth=10, width=2, shared=frozenset({"conv_block"}), banks=frozenset({"input_layer"})
        ),
        "a bank of output layers": LatePhase(depth=10, width=2, banks=frozenset({"head"})),
    }
)


def errors(case: LatePhase, state: dict[str, Tensor], checkpoint: Checkpoint, *, average: bool = False) -> list[float]:
    """Of each member's float32 logits, the worst sample's, against the oracle in float64."""
    ensemble = checkpoint.ensemble()
    shape = checkpoint.spec.network.image.shape
    images = torch.randn(3, *shape, generator=torch.Generator().manual_seed(7))
    found = []
    with torch.no_grad():
        for member in range(checkpoint.spec.members):
            expected = case.logits(state, member, images, average=average)
            logits = ensemble(member, {"image": images})["logits"]
            found.append(float(relative_l2(logits.double().numpy(), expected.numpy()).max()))
    return found


def image_of(case: LatePhase) -> ImageSpec:
    return ImageSpec(channels=case.channels, height=16, width=12)


@pytest.mark.parametrize("name", CASES)
def test_every_member_computes_what_the_oracle_computes(name: str) -> None:
    case = CASES[name]
    state = case.state_dict()
    checkpoint = import_late_phase(state, image=image_of(case))
    assert checkpoint.spec.members == case.members
    assert max(errors(case, state, checkpoint)) < TOLERANCE


@pytest.mark.parametrize("name", CASES)
def test_the_average_of_the_members_computes_what_the_oracle_computes(name: str) -> None:
    case = CASES[name]
    state = case.state_dict()
    checkpoint = import_late_phase(state, image=image_of(case), average_members=True)
    assert (checkpoint.spec.members, checkpoint.spec.hypernet) == (1, None)
    assert checkpoint.origin.endswith("members averaged")
    assert max(errors(case, state, checkpoint, average=True)) < TOLERANCE


def test_the_published_configuration_is_a_batch_ensemble_with_statistics_of_each_member() -> None:
    spec = import_late_phase(CASES["wrn-16-4"].state_dict()).spec
    assert spec.name == "wrn-16-4-batch-ensemble-3"
    assert (spec.recipe, spec.member_statistics, spec.hypernet) == (RECIPES["batch-ensemble"], True, None)
    assert spec.network.shortcut_input is ShortcutInput.PREACTIVATED
    assert spec.network.feature_maps == (16, 16, 32, 64)
    assert spec.network.image == ImageSpec()


def test_a_bank_is_an_internal_hypernetwork_of_as_many_numbers() -> None:
    case = CASES["banks, wrn-16-4"]
    state = case.state_dict()
    checkpoint = import_late_phase(state)
    hypernet = checkpoint.spec.hypernet
    assert hypernet is not None
    assert (hypernet.chunking, hypernet.embedding_sizes) == (Chunking.HALVES, (10, 3, 6, 6, 6, 3, 3, 3, 10))
    used = {tensor.data_ptr(): tensor for name, tensor in state.items() if is_used(name)}
    assert sum(tensor.numel() for tensor in checkpoint.tensors.values()) == sum(map(torch.numel, used.values()))


def is_used(name: str) -> bool:
    """Convolutions have no bias, but their banks have templates of one."""
    idle = name.endswith("templates.bias") and not name.startswith("head")
    return not idle and not name.endswith("num_batches_tracked")


def test_what_some_members_share_and_others_do_not_is_generated_for_all() -> None:
    case = CASES["a bank of blocks, the rest shared"]
    checkpoint = import_late_phase(case.state_dict())
    assert checkpoint.spec.recipe.convolution is Source.GENERATED
    assert checkpoint.tensors["hypernet.input.embedding"].flatten().tolist() == [1.0, 1.0, 1.0]


def test_logits_are_divided_by_the_temperature() -> None:
    for case in (CASES["wrn-16-1"], CASES["a bank of output layers"]):
        state = case.state_dict()
        cold, usual = (import_late_phase(state, temperature=value).ensemble() for value in (0.5, 1.0))
        images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
        logits = [ensemble(1, {"image": images})["logits"] for ensemble in (cold, usual)]
        torch.testing.assert_close(logits[0], 2 * logits[1])


TIED = (CASES["wrn-16-1"], CASES["only the output layers"], CASES["banks, wrn-16-1"])


@pytest.mark.parametrize("case", TIED, ids=["norms", "output layers", "coefficients"])
def test_what_was_tied_is_ignored_once_the_members_are_released(case: LatePhase) -> None:
    state = case.state_dict(tied=True)
    assert any("tied" in name for name in state)
    assert max(errors(case, state, import_late_phase(state))) < TOLERANCE


@pytest.mark.parametrize("case", TIED, ids=["norms", "output layers", "coefficients"])
def test_members_that_were_not_released_are_refused_with_the_reason(case: LatePhase) -> None:
    state = case.state_dict(tied=True)
    waiting = {name: as_initialised(name, state) for name in state}
    with pytest.raises(CheckpointError, match=r"before the members were released.*holds one network and no members"):
        import_late_phase(waiting)


def as_initialised(name: str, state: dict[str, Tensor]) -> Tensor:
    """What a tensor is before the members are released: theirs are untrained, kernels drawn at random."""
    tensor, leaf = state[name], name.rpartition(".")[2]
    if "coefficients" in name:
        return state[f"{name.rpartition('.')[0]}.0"]
    if "no_coef_modules" not in name or (tensor.dim() > 1 or "num_batches" in name):
        return tensor
    return torch.full_like(tensor, 1 if leaf in ("weight", "running_var") else 0)


def without(state: dict[str, Tensor], start: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith(start)}


PLAIN, BANKS = CASES["wrn-16-1"], CASES["banks, wrn-16-2"]
CONTRADICTIONS = {
    "no output layer": (PLAIN, lambda state: without(state, "head"), r"layer 'head' is missing"),
    "no block": (PLAIN, lambda state: without(state, "conv_block.1.0"), r"'conv_block\.1\.0\.bn1' is missing, reading"),
    "one block too many": (
        PLAIN,
        lambda state: state | {"adapter.3.bn1.no_coef_modules.0.weight": torch.ones(16)},
        r"layer 'adapter\.3\.bn1' belongs to no place, reading the file as wrn-16-1",
    ),
    "a name of another code": (
        PLAIN,
        lambda state: state | {"adapter.0.bn9.no_coef_modules.0.weight": torch.ones(16)},
        r"tensor 'adapter\.0\.bn9.*' belongs to no layer of a late-phase Wide ResNet",
    ),
    "a member less": (
        PLAIN,
        lambda state: without(state, "head.no_coef_modules.2"),
        r"layer 'head' has 2 members, layer '.*' 3|layer '.*' has 2 members, layer '.*' 3",
    ),
    "a member in between": (
        PLAIN,
        lambda state: without(state, "head.no_coef_modules.1"),
        r"tensors 'head\.no_coef_modules\.1' are missing",
    ),
    "a tensor less": (
        PLAIN,
        lambda state: without(state, "head.no_coef_modules.1.bias"),
        r"tensor 'head\.no_coef_modules\.1\.bias' is missing",
    ),
    "another shape": (
        PLAIN,
        lambda state: state | {"adapter.1.conv2.no_coef_modules.0.weight": torch.ones(32, 31, 3, 3)},
        r"'adapter\.1\.conv2\.no_coef_modules\.0\.weight': expected shape \[32, 32, 3, 3\], found shape \[32, 31,",
    ),
    "not a number": (
        PLAIN,
        lambda state: state | {"adapter.1.bn2.no_coef_modules.1.bias": torch.full((32,), torch.nan)},
        r"tensor 'adapter\.1\.bn2\.no_coef_modules\.1\.bias': expected finite numbers",
    ),
    "a negative variance": (
        PLAIN,
        lambda state: state | {"adapter.1.bn2.no_coef_modules.1.running_var": torch.full((32,), -1.0)},
        r"expected numbers of at least 0, found -1",
    ),
    "whole numbers": (
        PLAIN,
        lambda state: state | {"head.no_coef_modules.0.bias": torch.zeros(10, dtype=torch.int64)},
        r"tensor 'head\.no_coef_modules\.0\.bias': expected dtype .*, found torch\.int64",
    ),
    "coefficients without a bank": (
        BANKS,
        lambda state: without(state, "head.bank"),
        r"layer 'head' has coefficients and no bank",
    ),
    "two banks of one shape": (
        BANKS,
        lambda state: state | {"adapter.2.conv2.bank.templates.weight": torch.ones(128, 3, 3, 64, 6)},
        r"'adapter\.2\.conv2\.bank\.templates\.weight' differs from that of other layers",
    ),
    "another split": (
        BANKS,
        lambda state: state | {f"adapter.2.conv2.coefficients.{member}": torch.ones(6, 1) for member in range(3)},
        r"'adapter\.2\.conv2\.bank\.templates\.weight': expected shape \[128, 3, 3, 128, 6\], found shape",
    ),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_what_contradicts_itself_is_refused_with_the_place(name: str) -> None:
    case, change, message = CONTRADICTIONS[name]
    with pytest.raises(CheckpointError, match=message):
        import_late_phase(change(case.state_dict()))


def test_images_of_other_channels_are_refused() -> None:
    with pytest.raises(CheckpointError, match="'input_layer' takes 3 channels, the images have 1"):
        import_late_phase(PLAIN.state_dict(), image=ImageSpec(channels=1))


def test_what_is_no_state_dict_of_tensors_is_refused_and_parameters_become_plain_tensors() -> None:
    state = PLAIN.state_dict()
    for given, message in {
        "a list": ([state], "expected a state dict, tensors by name, found list"),
        "sparse": (
            state | {"head.no_coef_modules.0.weight": torch.ones(10, 64).to_sparse()},
            "expected a dense tensor",
        ),
        "an array": (state | {"head.no_coef_modules.0.weight": torch.ones(10, 64).numpy()}, "found ndarray"),
    }.values():
        with pytest.raises(CheckpointError, match=message):
            import_late_phase(given)  # type: ignore[arg-type]
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(CheckpointError, match="temperature: expected a positive number"):
            import_late_phase(state, temperature=wrong)
    own = {name: torch.nn.Parameter(tensor, tensor.is_floating_point()) for name, tensor in state.items()}
    assert not any(tensor.requires_grad for tensor in import_late_phase(own).tensors.values())
