"""The main network behind the image input."""

from hnexport.networks.wide_resnet.image_network import ImageNetwork
from hnexport.networks.wide_resnet.spec import PipelineSpec, WideResNetSpec
from hnexport.spec import HypernetSpec


def test_it_takes_no_memory_and_is_in_evaluation_mode() -> None:
    spec = PipelineSpec(network=WideResNetSpec.from_name("wrn-28-10"), members=2, hypernet=HypernetSpec())
    network = ImageNetwork(spec)
    assert {tensor.device.type for tensor in network.state_dict().values()} == {"meta"}
    assert not any(module.training for module in network.modules())
