"""State dicts of pairs that are no Wide ResNet's: refused by name, with the way in."""

import pytest
import torch
from live_pairs import MEMBERS, PAIRS

from hnexport.errors import CheckpointError
from hnexport.networks.wide_resnet.checkpoints import HypnettorchOverrides, import_hypnettorch
from hnexport.spec import Activation

READ = {
    "HContainer, WRN",
    "HContainer, gcd, WRN",
    "HContainer, hidden layers, WRN",
    "batch ensemble, WRN",
    "deep ensemble, WRN",
}
IMAGES = HypnettorchOverrides(image_height=16, image_width=16, activation=Activation.RELU)
NAMED = {
    "HMLP, ": "hnet is an HMLP",
    "ChunkedHMLP": "hnet is a ChunkedHMLP",
    "HContainer with heads, ": "hnet is a container around an HMLP",
    "HPerturbWrapper": "hnet is an HPerturbWrapper",
    "HMLP, MLP with context modulation": "mnet has context modulation",
    "HMLP, WRN with context modulation": "mnet has context modulation",
    "HContainer, batch norm inside": "hnet tensor '_batchnorm_layers.0.scale': batch norm between",
    "HContainer, embeddings": "hnet takes an embedding of the condition",
    "HContainer, shared chunks": "hnet takes an embedding of the condition",
}


@pytest.mark.parametrize("name", sorted(READ))
def test_state_dicts_of_a_wide_resnet_are_read_right(name: str) -> None:
    pair = PAIRS[name]
    hnet, mnet = pair.modules()
    ensemble = import_hypnettorch(hnet.state_dict(), mnet.state_dict(), overrides=IMAGES).ensemble()
    samples = pair.samples(3, 1)
    images = samples.reshape(3, 16, 16, 3).permute(0, 3, 1, 2)
    for member in range(MEMBERS):
        expected = pair.expected(hnet, mnet, member, samples)
        assert (ensemble(member, {"image": images})["logits"] - expected).norm() <= 1e-5 * expected.norm()


@pytest.mark.parametrize("name", sorted(PAIRS.keys() - READ))
def test_other_state_dicts_are_refused_with_the_way_in(name: str) -> None:
    hnet, mnet = PAIRS[name].modules()
    with pytest.raises(CheckpointError, match=r"--from FILE.*Ensemble\.from_hypnettorch\(hnet, mnet") as caught:
        import_hypnettorch(hnet.state_dict(), mnet.state_dict(), overrides=IMAGES)
    called = [words for start, words in NAMED.items() if name.startswith(start)]
    assert str(caught.value).startswith(called[-1] if called else "")


def test_a_list_of_parameters_is_called_so() -> None:
    tensors = torch.nn.ParameterList([torch.zeros(3), torch.zeros(2, 3)]).state_dict()
    with pytest.raises(
        CheckpointError, match="hnet is a ParameterList, tensors without a network: .*give the networks"
    ):
        import_hypnettorch(tensors, None)
