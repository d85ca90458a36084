"""How much of a member's weights is its own: it decides whether members are materialised."""

import pytest

from hnexport.families import Described
from hnexport.networks.wide_resnet.family import describe
from hnexport.networks.wide_resnet.spec import RECIPES, PipelineSpec, WideResNetSpec
from hnexport.runtime.loading import _OWN_SHARE
from hnexport.runtime.shares import makes_bases, own_share
from hnexport.spec import BasisDtype, HypernetSpec, Source


def described(recipe: str, network: str = "wrn-10-1", basis: BasisDtype = BasisDtype.FLOAT32) -> Described:
    hypernet = HypernetSpec(basis_dtype=basis) if Source.GENERATED in RECIPES[recipe].sources else None
    spec = PipelineSpec(network=WideResNetSpec.from_name(network), members=3, recipe=RECIPES[recipe], hypernet=hypernet)
    return describe(spec)


@pytest.mark.parametrize("network", ["wrn-10-1", "wrn-28-10"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_members_are_materialised_exactly_where_the_convolutions_are_not_shared(recipe: str, network: str) -> None:
    own = RECIPES[recipe].convolution is not Source.SHARED
    assert (own_share(described(recipe, network)) >= _OWN_SHARE) is own


@pytest.mark.parametrize("basis", BasisDtype)
def test_bases_in_fewer_bits_are_seen_in_the_stored_tensors(basis: BasisDtype) -> None:
    assert makes_bases(described("hypernet", basis=basis)) is (basis is not BasisDtype.FLOAT32)
