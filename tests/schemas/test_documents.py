"""What is written is what the schemas say; what they refuse is refused by whoever reads it.

Every bundle that tests build together, and whatever a command prints with `--json` in `tests/cli`, is held against the
schemas as well (`tests/support/schema_checks.py`).
"""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from described import manifest_of
from hypernetworks import CASES as CONDITIONAL
from jsonschema import Draft202012Validator
from live_pairs import PAIRS
from module_ensembles import ENSEMBLES as MODULES
from module_recipes import RECIPES
from safetensors import safe_open
from schema_checks import check_bundle, check_document, validator
from shared import built_list

from hnexport.bench.costs import read_costs
from hnexport.bundle.golden import _read_description
from hnexport.bundle.golden import read_golden as read_golden_samples
from hnexport.bundle.manifest import Identified, identified, read_identified
from hnexport.ensemble import Ensemble
from hnexport.errors import CheckpointError, HnexportError
from hnexport.evaluate.carded import read_evaluation
from hnexport.networks.wide_resnet.checkpoints import Checkpoint, save_checkpoint
from hnexport.networks.wide_resnet.checkpoints.native import _read_spec, _read_usage
from hnexport.networks.wide_resnet.spec import ImageLayout, PreprocessSpec
from hnexport.parity.foreign import golden_index, read_index
from hnexport.records import RecordError, to_json
from hnexport.schemas import names, schema
from hnexport.score.plan import parsed
from hnexport.spec import HypernetSpec
from hnexport.spec.usage import Normalisation, Usage

STORED = Path(__file__).parents[1] / "data" / "bundle-v1"
EXAMPLES = {name: schema(name)["examples"][0] for name in names()}

VALUES: tuple[Any, ...] = (None, True, -1, 1.5, "", "a/b\n", [], ["x", "x"], {"x": 1})
"""What is put in the place of any value."""


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def mutants(value: Any, most: int) -> Iterator[tuple[str, Any]]:
    """Each with one place removed, renamed or replaced; of long documents some places, drawn always alike."""
    found = [path for path in places(value) if path]
    if len(found) > most:
        found = Random(0).sample(found, most)
    for path in found:
        for number in range(-2, len(VALUES)):
            changed = copy.deepcopy(value)
            parent = changed
            for key in path[:-1]:
                parent = parent[key]
            key = path[-1]
            if number >= 0:
                parent[key] = copy.deepcopy(VALUES[number])
            else:
                held = parent.pop(key)
                if number == -1 and isinstance(parent, dict):
                    parent["unheard_of"] = held
            did = f"is {VALUES[number]!r}" if number >= 0 else ("removed", "renamed")[number + 2]
            yield f"{'.'.join(map(str, path))} {did}", changed


def read_manifest(value: Any, folder: Path) -> None:
    identified(json.dumps(value).encode(), "here", "manifest.json")


def read_golden(value: Any, folder: Path) -> None:
    (folder / "golden.json").write_text(json.dumps(value), encoding="utf-8")
    digest = f"sha256:{EXAMPLES['golden']['manifest_sha256']}"
    read_index(folder, folder, Identified(manifest=MANIFEST, digest=digest))


def read_golden_metadata(value: Any, folder: Path) -> None:
    _read_description(value, MANIFEST)


def read_evaluate(value: Any, folder: Path) -> None:
    (folder / "e.json").write_text(json.dumps(value), encoding="utf-8")
    read_evaluation(folder / "e.json")


def read_bench(value: Any, folder: Path) -> None:
    (folder / "b.json").write_text(json.dumps(value), encoding="utf-8")
    read_costs(folder / "b.json")


def read_predictions(value: Any, folder: Path) -> None:
    if parsed(json.dumps(value)) is None:
        raise RecordError("no plan")


READERS: dict[str, Callable[[Any, Path], None]] = {
    "manifest": read_manifest,
    "manifest-1": read_manifest,
    "golden": read_golden,
    "golden-metadata": read_golden_metadata,
    "evaluate": read_evaluate,
    "bench": read_bench,
    "predictions": read_predictions,
}
MANIFEST = identified(json.dumps(EXAMPLES["manifest"]).encode(), "here", "manifest.json").manifest


def is_about_structure(error: BaseException) -> bool:
    """Whether something is missing, unknown or of the wrong type, which a schema can say."""
    while error.__cause__ is not None:
        error = error.__cause__
    return isinstance(error, RecordError) and "64 bits" not in str(error)


def disagreements(name: str, value: Any, folder: Path, most: int = 40) -> list[str]:
    """Mutants that the schema refuses and the reader takes, and mutants whose structure the reader alone refuses."""
    found = []
    for did, changed in mutants(value, most):
        fits = validator(name).is_valid(changed)
        try:
            READERS[name](changed, folder)
        except HnexportError as error:
            if fits and is_about_structure(error):
                found.append(f"{did}: the reader alone refuses it: {error}")
        else:
            if not fits:
                found.append(f"{did}: the schema alone refuses it")
    return found


@pytest.mark.parametrize("name", READERS)
def test_schema_and_reader_agree_on_an_example_with_anything_changed(name: str, tmp_path: Path) -> None:
    READERS[name](EXAMPLES[name], tmp_path)
    assert disagreements(name, EXAMPLES[name], tmp_path) == []


def _wide_resnet(make_spec: Any, make_tensors: Any) -> Ensemble:
    spec = make_spec(hypernet=HypernetSpec(hidden_layers=(4,), bias=True))
    usage = Usage(normalisation=Normalisation(mean=(0.1,), std=(0.2, 0.3, 0.4)), assumed=("image-size",))
    return Checkpoint(spec=spec, tensors=make_tensors(spec), origin="a test", usage=usage).ensemble()


def _modules(*_: Any) -> Ensemble:
    return MODULES["transformer"].ensemble()


def _recipe(*_: Any) -> Ensemble:
    return RECIPES["tabular"].ensemble()


def _hypernetwork(*_: Any) -> Ensemble:
    return CONDITIONAL["both"].ensemble()


def _hypnettorch(*_: Any) -> Ensemble:
    return PAIRS["HMLP, MLP"].ensemble()


FAMILIES = {
    "wide-resnet": _wide_resnet,
    "modules": _modules,
    "recipe": _recipe,
    "hypernetwork": _hypernetwork,
    "hypnettorch": _hypnettorch,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_schema_and_reader_agree_on_manifests_of_each_family(
    family: str, make_spec: Any, make_tensors: Any, tmp_path: Path
) -> None:
    manifest = manifest_of(FAMILIES[family](make_spec, make_tensors))
    assert manifest.source.family == family
    value = json.loads(json.dumps(to_json(manifest)))
    read_manifest(value, tmp_path)
    check_document("manifest", value)
    few = {**value, "slots": value["slots"][:2], "stored": value["stored"][:2]}  # the mutants are about the rest
    assert disagreements("manifest", few, tmp_path, 20) == []


def test_the_stored_bundle_of_version_1_is_what_its_schemas_say() -> None:
    check_document("manifest-1", json.loads((STORED / "manifest.json").read_text(encoding="utf-8")))
    with safe_open(STORED / "golden.safetensors", framework="numpy") as file:
        check_document("golden-metadata", json.loads(file.metadata()["hnexport.golden"]))


def metadata_of(path: Path) -> dict[str, str]:
    with safe_open(path, framework="numpy") as file:
        return dict(file.metadata())


def fits_checkpoint(metadata: dict[str, str]) -> bool:
    """By the schema, and by the schemas of what stands as JSON in its texts."""
    whole = schema("checkpoint")
    inner = {key: json.loads(metadata[key]) for key in ("spec", "usage") if key in metadata}
    kinds = {"spec": "PipelineSpec", "usage": "Usage"}
    parts = [
        Draft202012Validator({"$ref": f"#/$defs/{kinds[key]}", "$defs": whole["$defs"]}).is_valid(value)
        for key, value in inner.items()
    ]
    return validator("checkpoint").is_valid(metadata) and all(parts)


def read_metadata(metadata: dict[str, str]) -> None:
    _read_spec(Path("here"), metadata)
    _read_usage(Path("here"), metadata)


def test_schema_and_reader_agree_on_checkpoints(make_spec: Any, make_tensors: Any, tmp_path: Path) -> None:
    preprocess = PreprocessSpec(mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0))
    spec = make_spec(preprocess=preprocess, image_layout=ImageLayout.NHWC)
    usage = Usage(class_names={"logits": ("a", "b", "c", "d", "e")}, license="mit")
    checkpoint = Checkpoint(spec=spec, tensors=make_tensors(spec), origin="a test", usage=usage)
    save_checkpoint(tmp_path / "c.safetensors", checkpoint)
    metadata = metadata_of(tmp_path / "c.safetensors")
    wrong = []
    assert fits_checkpoint(metadata)
    for key in ("spec", "usage"):
        for did, changed in mutants(json.loads(metadata[key]), 40):
            told = {**metadata, key: json.dumps(changed)}
            fits = fits_checkpoint(told)
            try:
                read_metadata(told)
            except HnexportError as error:
                wrong += [f"{did}: the reader alone refuses it: {error}"] * (fits and is_about_structure(error))
            else:
                wrong += [f"{did}: the schema alone refuses it"] * (not fits)
    for changed in ({"format": "x"}, {"version": "2"}, {"spec": None}, {"format": None}):
        told = {key: value for key, value in {**metadata, **changed}.items() if value is not None}
        assert not fits_checkpoint(told)
        with pytest.raises(CheckpointError, match="metadata '(format|spec)'|reads version 1 of the format, found '2'"):
            read_metadata(told)
    assert wrong == []


def test_bundles_golden_folders_and_checkpoints_of_the_suite_are_what_the_schemas_say() -> None:
    built = built_list("regressor")
    check_bundle(built.path)
    index = golden_index(read_identified(built.path), read_golden_samples(built.path))
    check_document("golden", json.loads(json.dumps(to_json(index))))


def test_a_wrong_document_is_told_with_its_place() -> None:
    value = {**EXAMPLES["manifest"], "members": 0}
    with pytest.raises(AssertionError, match=r"no manifest by its schema: \$.members: 0 is less than the minimum of 1"):
        check_document("manifest", value)
    changed = copy.deepcopy(EXAMPLES["inspect"])
    changed["manifest"]["slots"][0]["shape"] = "3"
    with pytest.raises(AssertionError, match=r"\$.manifest.slots\[0\].shape: '3' is not of type 'array'"):
        check_document("inspect", changed)
