"""What hypothesis draws: specifications that are valid, and JSON that may be anything."""

from typing import Any

from hypothesis import strategies as st

from hnexport.errors import SpecError
from hnexport.networks.wide_resnet.spec import (
    ImageLayout,
    ImageSpec,
    PipelineSpec,
    PreprocessSpec,
    Recipe,
    ShortcutInput,
    WideResNetSpec,
)
from hnexport.spec import Activation, BasisDtype, Chunking, HypernetSpec, Source

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)

_small = st.integers(1, 12)

networks = st.builds(
    WideResNetSpec,
    blocks_per_group=st.integers(1, 3),
    widening=st.integers(1, 4),
    classes=_small,
    image=st.builds(ImageSpec, channels=st.integers(1, 4), height=_small, width=_small),
    feature_maps=st.tuples(_small, _small, _small, _small),
    conv_bias=st.booleans(),
    output_bias=st.booleans(),
    batch_norm=st.booleans(),
    dropout=st.floats(0, 0.9),
    shortcut_input=st.sampled_from(ShortcutInput),
)
hypernets = st.builds(
    HypernetSpec,
    chunking=st.sampled_from(Chunking),
    hidden_layers=st.lists(_small, max_size=2).map(tuple),
    bias=st.booleans(),
    activation=st.sampled_from(Activation),
    basis_dtype=st.sampled_from(BasisDtype),
)
recipes = st.builds(
    Recipe, convolution=st.sampled_from(Source), norm=st.sampled_from(Source), output=st.sampled_from(Source)
)


@st.composite
def pipelines(draw: st.DrawFn) -> PipelineSpec:
    """Any specification that holds together."""
    network, recipe = draw(networks), draw(recipes)
    layout, preprocess = draw(st.sampled_from(ImageLayout)), None
    if layout is ImageLayout.NHWC and draw(st.booleans()):
        numbers = st.lists(st.floats(0.1, 1), min_size=network.image.channels, max_size=network.image.channels)
        preprocess = PreprocessSpec(mean=tuple(draw(numbers)), std=tuple(draw(numbers)))
    fields: dict[str, Any] = {
        "network": network,
        "members": draw(st.integers(1, 20)),
        "recipe": recipe,
        "hypernet": draw(hypernets) if Source.GENERATED in recipe.sources else None,
        "member_statistics": network.batch_norm and draw(st.booleans()),
        "image_layout": layout,
        "preprocess": preprocess,
    }
    try:
        return PipelineSpec(**fields)
    except SpecError:  # a combination that means nothing: the nearest that does
        fields |= {"recipe": Recipe(convolution=Source.GENERATED, norm=Source.MEMBER, output=Source.MEMBER)}
        return PipelineSpec(**{**fields, "hypernet": draw(hypernets)})
