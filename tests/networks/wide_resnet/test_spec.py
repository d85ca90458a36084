import json
import math
import random
from collections.abc import Callable
from typing import Any

import pytest

from hnexport.errors import SpecError
from hnexport.networks.wide_resnet.spec import (
    RECIPES,
    ImageLayout,
    ImageSpec,
    PipelineSpec,
    PreprocessSpec,
    Recipe,
    ShortcutInput,
    WideResNetSpec,
)
from hnexport.records import RecordError, from_json, to_json
from hnexport.spec import Activation, BasisDtype, Chunking, HypernetSpec, Source

REFERENCE = WideResNetSpec.from_name("wrn-28-10")
NORMALISE = PreprocessSpec(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
GENERATED_NORM = Recipe(convolution=Source.SHARED, norm=Source.GENERATED, output=Source.MEMBER)


def random_spec(seed: int) -> PipelineSpec:
    """Any valid pipeline specification."""
    pick = random.Random(seed)
    convolution = pick.choice(list(Source))
    norm = pick.choice([source for source in Source if source is not Source.GENERATED or convolution is source])
    recipe = Recipe(convolution=convolution, norm=norm, output=pick.choice(list(Source)))
    layout = pick.choice(list(ImageLayout))
    network = WideResNetSpec(
        blocks_per_group=pick.randint(1, 6),
        widening=pick.randint(1, 12),
        classes=pick.choice([1, 2, 10, 1000]),
        image=ImageSpec(channels=pick.choice([1, 3, 4]), height=pick.randint(1, 64), width=pick.randint(1, 64)),
        feature_maps=tuple(pick.randint(1, 64) for _ in range(4)),  # type: ignore[arg-type]
        conv_bias=pick.random() < 0.5,
        output_bias=pick.random() < 0.5,
        batch_norm=pick.random() < 0.8,
        dropout=pick.choice([0.0, 0.3]),
        shortcut_input=pick.choice(list(ShortcutInput)),
    )
    hypernet = HypernetSpec(
        chunking=pick.choice(list(Chunking)),
        embedding_sizes=pick.choice([None, tuple(pick.randint(1, 20) for _ in range(8))]),
        hidden_layers=tuple(pick.randint(1, 50) for _ in range(pick.randint(0, 3))),
        bias=pick.random() < 0.5,
        activation=pick.choice(list(Activation)),
        basis_dtype=pick.choice(list(BasisDtype)),
    )
    normalise = layout is ImageLayout.NHWC and pick.random() < 0.8
    channels = network.image.channels
    return PipelineSpec(
        network=network,
        members=pick.randint(1, 100) if set(recipe.sources) != {Source.SHARED} else 1,
        recipe=recipe,
        hypernet=hypernet if Source.GENERATED in recipe.sources else None,
        member_statistics=network.batch_norm and pick.random() < 0.5,
        image_layout=layout,
        preprocess=PreprocessSpec(
            mean=tuple(pick.random() for _ in range(channels)), std=tuple(0.1 + pick.random() for _ in range(channels))
        )
        if normalise
        else None,
    )


@pytest.mark.parametrize("seed", range(60))
def test_a_specification_comes_back_equal_from_json_text(seed: int) -> None:
    spec = random_spec(seed)
    again = from_json(PipelineSpec, json.loads(json.dumps(to_json(spec))))
    assert again == spec
    assert hash(again) == hash(spec)


def test_a_specification_from_before_bases_had_a_dtype_is_float32() -> None:
    text = json.dumps(to_json(HypernetSpec(basis_dtype=BasisDtype.FLOAT16)))
    assert from_json(HypernetSpec, json.loads(text)).basis_dtype is BasisDtype.FLOAT16
    old = json.loads(text)
    del old["basis_dtype"]
    assert from_json(HypernetSpec, old) == HypernetSpec()
    with pytest.raises(RecordError, match=r"\$.basis_dtype: expected one of 'float32', .*, found 'float64'"):
        from_json(HypernetSpec, {**old, "basis_dtype": "float64"})


def test_json_names_the_path_of_what_is_wrong_in_a_specification() -> None:
    text = to_json(PipelineSpec(network=REFERENCE, members=2))
    text["network"]["image"]["height"] = "32"
    with pytest.raises(RecordError, match=r"^\$\.network\.image\.height: expected an integer, found '32'"):
        from_json(PipelineSpec, text)


def test_json_with_an_unknown_field_is_refused() -> None:
    text = to_json(PipelineSpec(network=REFERENCE, members=2))
    text["hypernet"]["gcd_chunking"] = True
    with pytest.raises(RecordError, match=r"^\$\.hypernet: unknown field 'gcd_chunking'; known are chunking"):
        from_json(PipelineSpec, text)


def test_json_that_contradicts_itself_is_a_spec_error() -> None:
    text = to_json(PipelineSpec(network=REFERENCE, members=2))
    text["hypernet"] = None
    with pytest.raises(SpecError, match="needs a hypernet specification"):
        from_json(PipelineSpec, text)


@pytest.mark.parametrize("depth", [10, 16, 22, 28, 34, 40])
def test_the_name_gives_the_depth_and_the_widening(depth: int) -> None:
    spec = WideResNetSpec.from_name(f"WRN-{depth}-3", classes=7, image=ImageSpec(channels=1))
    assert (spec.depth, spec.blocks_per_group, spec.widening) == (depth, (depth - 4) // 6, 3)
    assert (spec.name, spec.classes, spec.image.channels) == (f"wrn-{depth}-3", 7, 1)


def test_the_input_layer_is_not_widened() -> None:
    assert REFERENCE.widths == (16, 160, 320, 640)


@pytest.mark.parametrize("name", ["resnet-18", "wrn", "wrn-28", "wrn-28-10-1", "wrn-28-x", " wrn-28-10", ""])
def test_an_unknown_network_name_is_refused_with_examples(name: str) -> None:
    with pytest.raises(SpecError, match=r"^unknown network .*: expected wrn-DEPTH-WIDENING, for instance wrn-28-10"):
        WideResNetSpec.from_name(name)


@pytest.mark.parametrize(("depth", "nearest"), [(0, 10), (4, 10), (9, 10), (11, 10), (26, 28), (29, 28), (42, 40)])
def test_a_depth_that_is_not_6n_plus_4_is_refused_with_the_nearest_one(depth: int, nearest: int) -> None:
    with pytest.raises(SpecError, match=rf"depth must be 6n \+ 4 .*nearest is wrn-{nearest}-10$"):
        WideResNetSpec.from_name(f"wrn-{depth}-10")


RECIPE_NAMES: dict[str, Recipe] = {
    "hypernet": RECIPES["hypernet"],
    "batch-ensemble": RECIPES["batch-ensemble"],
    "hypernet+norm-member": Recipe(convolution=Source.GENERATED, norm=Source.MEMBER, output=Source.MEMBER),
    "hypernet+convolution-shared+output-generated": Recipe(
        convolution=Source.SHARED, norm=Source.SHARED, output=Source.GENERATED
    ),
    "batch-ensemble+norm-shared": Recipe(convolution=Source.SHARED, norm=Source.SHARED, output=Source.MEMBER),
}


@pytest.mark.parametrize(("name", "recipe"), RECIPE_NAMES.items(), ids=RECIPE_NAMES.keys())
def test_a_recipe_is_named_by_what_differs_from_the_nearest(name: str, recipe: Recipe) -> None:
    assert recipe.name == name


def test_a_pipeline_is_named_by_network_recipe_and_members() -> None:
    assert PipelineSpec(network=REFERENCE, members=10).name == "wrn-28-10-hypernet-10"


@pytest.mark.parametrize(
    ("layout", "preprocess", "expected"),
    [
        (ImageLayout.NCHW, None, ("float32", (3, 8, 6))),
        (ImageLayout.NHWC, None, ("float32", (8, 6, 3))),
        (ImageLayout.FLAT_HWC, None, ("float32", (144,))),
        (ImageLayout.NHWC, NORMALISE, ("uint8", (8, 6, 3))),
    ],
    ids=["nchw", "nhwc", "flat", "uint8"],
)
def test_the_image_input_follows_layout_and_preprocessing(
    layout: ImageLayout, preprocess: PreprocessSpec | None, expected: tuple[str, tuple[int, ...]]
) -> None:
    network = WideResNetSpec(blocks_per_group=1, widening=1, image=ImageSpec(height=8, width=6))
    spec = PipelineSpec(network=network, members=1, image_layout=layout, preprocess=preprocess)
    assert spec.image_input == expected


def pipeline(**changes: Any) -> PipelineSpec:
    return PipelineSpec(**{"network": REFERENCE, "members": 2, **changes})


def network(**changes: Any) -> WideResNetSpec:
    return WideResNetSpec(**{"blocks_per_group": 1, "widening": 1, **changes})


CONTRADICTIONS: dict[str, tuple[Callable[[], object], str]] = {
    "no members": (lambda: pipeline(members=0), "members must be at least 1, found 0"),
    "a fraction of members": (lambda: pipeline(members=2.5), r"members must be a whole number, found 2\.5"),
    "members as truth": (lambda: pipeline(members=True), "members must be a whole number, found True"),
    "no blocks": (lambda: network(blocks_per_group=0), "blocks_per_group must be at least 1"),
    "no widening": (lambda: network(widening=0), "widening must be at least 1"),
    "no classes": (lambda: network(classes=-1), "classes must be at least 1, found -1"),
    "three feature maps": (lambda: network(feature_maps=(1, 2, 3)), "feature_maps needs 4 numbers, found 3"),
    "feature maps as a list": (lambda: network(feature_maps=[1, 2, 3, 4]), "feature_maps must be a tuple"),
    "empty feature map": (lambda: network(feature_maps=(1, 2, 3, 0)), "feature_maps must be at least 1"),
    "certain dropout": (lambda: network(dropout=1.0), r"dropout must be in \[0, 1\), found 1"),
    "dropout is not a number": (lambda: network(dropout=math.nan), r"dropout must be in \[0, 1\), found nan"),
    "no image": (lambda: ImageSpec(height=0), "channels, height and width must be at least 1"),
    "text as source": (
        lambda: Recipe(convolution="generated", norm=Source.SHARED, output=Source.MEMBER),  # type: ignore[arg-type]
        r"convolution must be one of Source\.SHARED, .*found 'generated'",
    ),
    "text as chunking": (
        lambda: HypernetSpec(chunking="published"),  # type: ignore[arg-type]
        r"chunking must be one of Chunking\.PUBLISHED, Chunking\.GCD, Chunking\.HALVES; found 'published'",
    ),
    "text as activation": (
        lambda: HypernetSpec(activation="swish"),  # type: ignore[arg-type]
        r"activation must be one of Activation\.RELU",
    ),
    "text as layout": (lambda: pipeline(image_layout="nhwc"), r"image_layout must be one of ImageLayout\.NCHW"),
    "empty embedding": (lambda: HypernetSpec(embedding_sizes=(1, 0)), "embedding_sizes must be at least 1"),
    "empty hidden layer": (lambda: HypernetSpec(hidden_layers=(0,)), "hidden_layers must be at least 1"),
    "hidden layers as a list": (
        lambda: HypernetSpec(hidden_layers=[3]),  # type: ignore[arg-type]
        "hidden_layers must be a tuple",
    ),
    "a hypernetwork without use": (
        lambda: pipeline(recipe=RECIPES["batch-ensemble"]),
        "generates nothing has no hypernetwork: set hypernet to None",
    ),
    "members that are all the same": (
        lambda: pipeline(
            recipe=Recipe(convolution=Source.SHARED, norm=Source.SHARED, output=Source.SHARED), hypernet=None
        ),
        "makes all members the same: use one member",
    ),
    "no hypernetwork": (lambda: pipeline(hypernet=None), "generates tensors needs a hypernet specification"),
    "generated norm of shared kernels": (
        lambda: pipeline(recipe=GENERATED_NORM),
        "generated together with their convolution",
    ),
    "statistics without batch norm": (
        lambda: pipeline(network=network(batch_norm=False), member_statistics=True),
        "without batch norm has no statistics",
    ),
    "unequal mean and std": (
        lambda: PreprocessSpec(mean=(0.0,), std=(1.0, 1.0)),
        "mean has 1 numbers, std 2; give one of each a channel",
    ),
    "infinite mean": (lambda: PreprocessSpec(mean=(math.inf,), std=(1.0,)), "must be finite"),
    "std of zero": (lambda: PreprocessSpec(mean=(0.0,), std=(0.0,)), "std must be positive"),
    "mean as a list": (
        lambda: PreprocessSpec(mean=[0.0], std=(1.0,)),  # type: ignore[arg-type]
        "mean must be a tuple",
    ),
    "mean for other channels": (
        lambda: pipeline(preprocess=PreprocessSpec(mean=(0.0,), std=(1.0,)), image_layout=ImageLayout.NHWC),
        "mean and std need 3 numbers, one a channel; found 1",
    ),
    "preprocessing of channels first": (lambda: pipeline(preprocess=NORMALISE), "set image_layout to nhwc"),
}


@pytest.mark.parametrize(("build", "message"), CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_a_specification_that_cannot_be_built_is_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        build()


def test_a_network_with_raw_shortcuts_is_written_as_it_was_before_there_were_others() -> None:
    assert "shortcut_input" not in to_json(REFERENCE)
    preactivated = WideResNetSpec(blocks_per_group=1, widening=1, shortcut_input=ShortcutInput.PREACTIVATED)
    assert to_json(preactivated)["shortcut_input"] == "preactivated"
