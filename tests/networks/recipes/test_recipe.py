"""Recipes: the first rule that matches decides, in Python as in TOML, and what does not fit is refused by name."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from hnexport.errors import SpecError
from hnexport.networks.recipes.recipe import ModuleRecipe, Planner, Rule, read_recipe, sources
from hnexport.records import from_json, to_json
from hnexport.spec import Activation, BasisDtype, Slot, Source

SLOTS = (
    Slot(name="stem.weight", shape=(8, 3)),
    Slot(name="blocks.0.weight", shape=(8, 8)),
    Slot(name="blocks.0.bias", shape=(8,)),
    Slot(name="norm.running_mean", shape=(8,), trained=False),
    Slot(name="head.weight", shape=(8, 3), alias_of="stem.weight"),
)


def recipe(*rules: Any, **settings: str) -> ModuleRecipe:
    return ModuleRecipe(rules=tuple(Rule(*rule) for rule in rules), **settings)


def test_the_first_rule_that_matches_decides() -> None:
    found = sources(recipe(("blocks.*.bias", "member"), ("blocks.*", "generated"), ("*", "shared")), SLOTS)
    assert found == {
        "stem.weight": Source.SHARED,
        "blocks.0.weight": Source.GENERATED,
        "blocks.0.bias": Source.MEMBER,
        "norm.running_mean": Source.SHARED,
    }


def test_a_recipe_in_toml_is_the_same_as_in_python(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(
        'planner = "flat"\nembedding_size = 4\nchunk_size = 100\nhidden_layers = [16]\nbias = true\n'
        'activation = "tanh"\nbasis_dtype = "float16"\nembedding_sizes = { "fl*" = 16 }\n\n'
        '[[rules]]\npattern = "blocks.*"\nsource = "generated"\n\n[[rules]]\npattern = "*"\nsource = "shared"\n'
    )
    expected = ModuleRecipe(
        rules=(Rule("blocks.*", Source.GENERATED), Rule("*", Source.SHARED)),
        planner=Planner.FLAT,
        embedding_size=4,
        embedding_sizes={"fl*": 16},
        chunk_size=100,
        hidden_layers=(16,),
        bias=True,
        activation=Activation.TANH,
        basis_dtype=BasisDtype.FLOAT16,
    )
    assert read_recipe(path) == expected
    assert from_json(ModuleRecipe, to_json(expected)) == expected


def test_words_and_lists_are_taken_for_what_they_say() -> None:
    assert recipe(("*", "member"), planner="whole").planner is Planner.WHOLE
    assert ModuleRecipe(rules=[Rule("*", "member")], hidden_layers=[3]).hidden_layers == (3,)


WRONG = {
    "nothing matches": (
        (("blocks.*", "shared"),),
        r"no rule .* matches 'stem.weight' \[8, 3\]: .*Rule\('\*', 'shared'\)",
    ),
    "a name that no tensor has": (
        (("block.*", "member"), ("*", "shared")),
        "'block.*' .* none has such a name; there are",
    ),
    "decided before": (
        (("*", "shared"), ("blocks.*", "member")),
        r"'blocks.\*' .* rules before it decide for blocks.0",
    ),
    "only an alias": (
        (("head.*", "member"), ("*", "shared")),
        r"'head.\*' .* head.weight is tied to stem.weight, give the rule for that",
    ),
    "a buffer": ((("*", "generated"),), r"'norm.running_mean', .* is a buffer, .* cannot be generated; say before"),
}


@pytest.mark.parametrize(("rules", "message"), WRONG.values(), ids=WRONG.keys())
def test_rules_that_do_not_fit_are_refused(rules: tuple[Any, ...], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        sources(recipe(*rules), SLOTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"dtype": "float64"}, "is float64: only float32 can be generated"), ({"shape": (0, 3)}, "is empty")],
)
def test_what_cannot_be_generated_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        sources(recipe(("*", "generated")), [dataclasses.replace(SLOTS[0], **change)])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rules": ()}, "a recipe needs at least one"),
        ({"rules": "*"}, "rules must be a tuple"),
        ({"rules": (("*", "shared"),)}, r"rules: expected Rule\(pattern, source\)"),
        ({"planner": "gcd"}, "planner must be one of Planner.BY_SHAPE, Planner.WHOLE, Planner.FLAT; found 'gcd'"),
        ({"embedding_size": 0}, "embedding_size must be at least 1, found 0"),
        ({"embedding_sizes": {"a": 0}}, "embedding_sizes must be at least 1, found 0"),
        ({"embedding_sizes": [8]}, r"embedding_sizes: expected \{pattern: size\}, found \[8\]"),
        ({"embedding_sizes": {1: 8}}, r"embedding_sizes: expected \{pattern: size\}"),
        ({"chunk_size": 1.5}, "chunk_size must be a whole number"),
        ({"hidden_layers": (0,)}, "hidden_layers must be at least 1"),
        ({"bias": 1}, "bias: expected True or False, found 1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        ModuleRecipe(**{"rules": (Rule("*", "shared"),), **settings})


def test_a_source_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SpecError, match=r"source must be one of Source.SHARED, .*; found 'own'"):
        Rule("*", "own")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules = 1", r"is no recipe: \$.rules: expected a list, found 1"),
        ("[[rules]]\npattern = '*'", r"\$.rules\[0\]: field 'source' is missing"),
        ("colour = 1\n[[rules]]\npattern = '*'\nsource = 'shared'", "unknown field 'colour'"),
        ("[[rules]]\npattern = '*'\nsource = 'own'", r"\$.rules\[0\].source: expected one of 'shared', 'member'"),
        ("[[rules", "is no recipe: "),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_with_the_place(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(SpecError, match=message):
        read_recipe(tmp_path / "recipe.toml")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"none.toml is no recipe: .*none.toml"):
        read_recipe(tmp_path / "none.toml")
