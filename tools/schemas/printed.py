"""What commands print with `--json` and no reader of ours takes as a record; and metadata of text alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hnexport.bundle.manifest import AsTrained, BasisRounding, Manifest
from hnexport.bundle.summary import Summary
from hnexport.doctor import Diagnosis
from hnexport.images import AppliedNormalisation
from hnexport.networks.wide_resnet.spec import PipelineSpec
from hnexport.parity.locate import LocateReport
from hnexport.parity.results import ArtifactReport, Comparison, ParityReport, Verdict
from hnexport.quantise.cost import Cost
from hnexport.quantise.plan import Kept
from hnexport.recalibration import Change
from hnexport.score.plan import Plan
from hnexport.spec.usage import Usage
from hnexport.tune.int8 import Int8Report
from schemas.records import Records, Schema, optional

__all__ = ["PRINTED", "Printed"]


@dataclass(frozen=True, kw_only=True)
class Printed:
    """See `schemas.documents.Document`."""

    title: str
    text: str
    root: Callable[[Records], Schema]
    written: bool = True
    since: str = "0.2"


def _object(optional_names: tuple[str, ...] = (), **properties: tuple[str, Schema]) -> Schema:
    """An object of described properties; those that are not optional are always there."""
    return {
        "type": "object",
        "properties": {name: {"description": text, **schema} for name, (text, schema) in properties.items()},
        "required": [name for name in properties if name not in optional_names],
        "additionalProperties": False,
    }


_TEXT: Schema = {"type": "string"}
_WHOLE: Schema = {"type": "integer", "minimum": 0}
_NUMBER: Schema = {"type": "number"}
_TRUTH: Schema = {"type": "boolean"}
_TEXTS: Schema = {"type": "array", "items": _TEXT}
_DIGEST: Schema = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}
_SECONDS = ("How long it took.", _NUMBER)
_ASSUMED = ("What nobody said and was assumed, a line each, and how to say it.", _TEXTS)


def _with(schema: Schema, first: Schema) -> Schema:
    """A record with further properties before its own."""
    return {
        **schema,
        "properties": {**first["properties"], **schema["properties"]},
        "required": [*first["required"], *schema["required"]],
    }


def _parity(records: Records) -> Schema:
    report = _report(records)
    records.defs.pop("ParityReport", None)
    return report


def _report(records: Records) -> Schema:
    """A report, and with each artifact whether it passed."""
    records.of(ArtifactReport)
    artifact = records.defs["ArtifactReport"]
    if "passed" not in artifact["properties"]:
        artifact["properties"]["passed"] = {"description": "Whether every member and every check passed.", **_TRUTH}
        artifact["required"].append("passed")
    head = _object(
        schema=("What this is.", {"const": "hnexport-parity"}),
        schema_version=("Of what this is.", {"const": 1}),
        passed=("Whether the verdict is `same`.", _TRUTH),
        verdict=("What all of it comes to; the exit code of `hnexport verify` is 0, 1 or 2.", records.of(Verdict)),
        sampled=("Whether the members are a sample that was drawn.", _TRUTH),
    )
    return _with(records.fields(ParityReport), head)


def _report_definition(records: Records) -> Schema:
    records.defs["ParityReport"] = _report(records)
    return {"$ref": "#/$defs/ParityReport"}


def _locate(records: Records) -> Schema:
    head = _object(
        schema=("What this is.", {"const": "hnexport-locate"}),
        schema_version=("Of what this is.", {"const": 1}),
        stage=(
            "Whose fault the first departure is; null where the artifact agrees.",
            {"enum": ["weight generation", "inference", None]},
        ),
    )
    return _with(records.fields(LocateReport), head)


def _doctor(records: Records) -> Schema:
    return _with(records.fields(Diagnosis), _object(sound=("Whether nothing contradicts itself.", _TRUTH)))


def _inspect(records: Records) -> Schema:
    counts: Schema = {"type": "object", "additionalProperties": _NUMBER}
    bundle = _object(
        digest=("Which bundle it is.", _DIGEST),
        manifest=("The manifest, one of version 1 as one of version 2 would be.", records.of(Manifest)),
        summary=("The bundle in numbers.", records.of(Summary)),
        assumed=_ASSUMED,
    )
    records.defs["Manifest"]["properties"]["schema_version"] = {"description": "As it was written.", "enum": [1, 2]}
    checkpoint = _object(
        kind=("What the file is, in words.", _TEXT),
        origin=("Where the tensors come from.", _TEXT),
        spec=("What is built of them.", records.of(PipelineSpec)),
        counts=("Weight counts (integers) and compression ratios, by label.", counts),
        usage=("What whoever uses it has to know beside the tensors.", records.of(Usage)),
        assumed=_ASSUMED,
    )
    return {"oneOf": [{"title": "of a bundle", **bundle}, {"title": "of a checkpoint", **checkpoint}]}


def _build(records: Records) -> Schema:
    return _object(
        bundle=("The folder that was published.", _TEXT),
        digest=("Which bundle it is.", _DIGEST),
        seconds=(
            "How long each step took, by its name.",
            {"type": "object", "additionalProperties": _NUMBER},
        ),
        parity=("What parity found.", _report_definition(records)),
        basis_rounding=("As in the manifest.", optional(records.of(BasisRounding))),
        as_trained=("As in the manifest.", optional(records.of(AsTrained))),
        assumed=_ASSUMED,
    )


def _member(records: Records) -> Schema:
    cost, kept = records.of(Cost), records.of(Kept)
    costs: Schema = {"type": "object", "additionalProperties": cost}
    judged = ("With how many samples it was judged.", _WHOLE)
    half = _object(members=("Of each member, what fewer bits change.", costs), judged=judged)
    integers = _object(
        members=("Of each member, what int8 changes.", costs),
        judged=judged,
        kept=("The layers that stay in float32.", {"type": "array", "items": kept}),
    )
    return _object(
        ("parity", "float16", "bfloat16", "int8"),
        files=("The file of each member, by its number.", {"type": "object", "additionalProperties": _TEXT}),
        weights_beside=("Files above 2 GiB, whose weights lie in a second one.", _TEXTS),
        parity=("What parity found, but in int8.", _report_definition(records)),
        float16=("What float16 costs, where samples were given.", half),
        bfloat16=("What bfloat16 costs, where samples were given.", half),
        int8=("What int8 costs.", integers),
    )


def _triton(records: Records) -> Schema:
    return _object(
        path=("The model repository.", _TEXT),
        models=("The models in it.", _TEXTS),
        version=("The folder of this version in each of them.", {"type": ["integer", "string"]}),
        bytes=("What all files take.", _WHOLE),
    )


def _tune(records: Records) -> Schema:
    return _object(
        ("int8",),
        path=("Where the cache holds it.", _TEXT),
        seconds=_SECONDS,
        relative_l2=("The worst relative L2 error of a row; null where it was held already.", optional(_NUMBER)),
        int8=("With `--precision int8`: what was made, and what it costs.", records.of(Int8Report)),
    )


def _recalibrate(records: Records) -> Schema:
    return _object(
        out=("The checkpoint that was written.", _TEXT),
        images=("From how many images.", _WHOLE),
        batches=("In how many batches.", _WHOLE),
        changes=("What changed most in each member.", {"type": "array", "items": records.of(Change)}),
        normalisation=("How pictures became inputs; null where there were none.", _applied(records)),
    )


def _applied(records: Records) -> Schema:
    return optional(records.of(AppliedNormalisation))


def _replay(records: Records) -> Schema:
    return records.fields(Comparison)


_NESTED: Schema = {"type": ["array", "number", "null", "boolean"]}
_NUMBERS: Schema = {"type": "array", "items": {"type": ["number", "null"]}}
_NATS: Schema = {"type": ["number", "null"]}


def _predict(records: Records) -> Schema:
    member = _object(
        logits=("In the order of the classes.", _NUMBERS), probabilities=("Softmax of the logits.", _NUMBERS)
    )
    sample = _object(
        ("image", "sample", "members_used", "normalisation"),
        image=("The file.", _TEXT),
        sample=("The file and the number of the sample.", _TEXT),
        labels=("The classes, in their order.", _TEXTS),
        members=("By its number, what each member says.", {"type": "object", "additionalProperties": member}),
        members_used=("How many were asked, where a rule says when they are enough.", _WHOLE),
        mean_probabilities=("Of the members.", _NUMBERS),
        predictive_entropy_nats=("Of the mean probabilities.", _NATS),
        mutual_information_nats=("What the members disagree about.", _NATS),
        votes=("How many members answer with each class.", {"type": "array", "items": _WHOLE}),
        normalisation=("How the picture became an input; null where it was none.", _applied(records)),
    )
    logits = _object(
        ("labels",),
        kind=("What the output is.", {"const": "logits"}),
        members=("The logits, the member first.", _NESTED),
        mean_probabilities=("Of the members.", _NESTED),
        predictive_entropy_nats=("Of the mean probabilities.", _NESTED),
        mutual_information_nats=("What the members disagree about.", _NESTED),
        votes=("How many members answer with each class.", _NESTED),
        labels=("The classes, in their order.", _TEXTS),
    )
    value = _object(
        ("mean", "variance"),
        kind=("What the output is.", {"const": "value"}),
        members=("The values, the member first.", _NESTED),
        mean=("Over the members, of a floating-point output.", _NESTED),
        variance=("Over the members.", _NESTED),
    )
    records.defs |= {
        "Sample": {"description": "What the members say of one sample.", **sample},
        "LogitsOutput": {"description": "An output of logits, of all samples.", **logits},
        "ValueOutput": {"description": "An output that is a value, of all samples.", **value},
    }
    references: list[dict[str, Any]] = [{"$ref": "#/$defs/LogitsOutput"}, {"$ref": "#/$defs/ValueOutput"}]
    whole = _object(
        ("normalisation",),
        samples=("What each sample is called.", _TEXTS),
        normalisation=("Of each sample.", {"type": "array", "items": _applied(records)}),
        members=("Those that were asked.", {"type": "array", "items": _WHOLE}),
        outputs=("By name.", {"type": "object", "additionalProperties": {"oneOf": references}}),
    )
    fault = _object(
        row=("Its number.", _WHOLE), id=("What it is called.", _TEXT), error=("Why it has no prediction.", _TEXT)
    )
    scored = _object(
        out=("The Parquet file.", _TEXT),
        rows=("In the data set.", _WHOLE),
        scored=("Of these, how many in this run; the others were finished before.", _WHOLE),
        seconds=_SECONDS,
        without_prediction=("Rows that could not be read.", _WHOLE),
        first_errors=("The first of these.", {"type": "array", "items": fault}),
        plan=("What was scored and how.", records.of(Plan)),
    )
    return {
        "oneOf": [
            {
                "title": "one output of logits, one for each sample",
                "type": "array",
                "items": {"$ref": "#/$defs/Sample"},
            },
            {"title": "any other network", **whole},
            {"title": "with --out FILE.parquet", **scored},
        ]
    }


def _checkpoint(records: Records) -> Schema:
    def inside(kind: type) -> Schema:
        return {**_TEXT, "contentMediaType": "application/json", "contentSchema": records.of(kind)}

    schema = _object(
        ("origin", "usage", "assumed"),
        format=("What this is.", {"const": "hnexport-checkpoint"}),
        version=("Of what this is, as text.", {"const": "1"}),
        spec=("The specification, as JSON in a text.", inside(PipelineSpec)),
        origin=("Where the tensors come from, one line.", _TEXT),
        usage=("What whoever uses the ensemble has to know beside its tensors, as JSON in a text.", inside(Usage)),
        assumed=("Of files without `usage`: the words of `Usage.assumed`, separated by `, `.", _TEXT),
    )
    return {**schema, "additionalProperties": _TEXT}


PRINTED: Mapping[str, Printed] = {
    "checkpoint": Printed(
        title="Metadata of a native checkpoint",
        text="What the tensors of a native checkpoint are: the `__metadata__` of the safetensors file. Every "
        "value is text; `spec` and `usage` are JSON in a text, whose schemas are the definitions `PipelineSpec` and "
        "`Usage`. Other keys are left alone.",
        root=_checkpoint,
        written=False,
        since="0.1",
    ),
    "parity": Printed(
        title="parity.json",
        text="What verification found, for each artifact, member and check: `parity.json` of a bundle, and what "
        "`hnexport verify --json` prints. Numbers that are not finite are null.",
        root=_parity,
        since="0.1",
    ),
    "locate": Printed(
        title="hnexport locate --json",
        text="The first place where an artifact departs from PyTorch in float64. Numbers that are not finite are null.",
        root=_locate,
        since="0.1",
    ),
    "inspect": Printed(
        title="hnexport inspect --json", text="What a bundle is, or a checkpoint file.", root=_inspect, since="0.1"
    ),
    "doctor": Printed(
        title="hnexport doctor --json",
        text="What this machine can run, what is missing, and the remedy.",
        root=_doctor,
        since="0.1",
    ),
    "predict": Printed(
        title="hnexport predict --json",
        text="What members say of samples, and how much they disagree. Numbers that are not finite are null.",
        root=_predict,
        since="0.1",
    ),
    "build": Printed(
        title="hnexport build --json",
        text="What was built. Where an artifact differs, so that nothing is published, it is a parity report alone.",
        root=_build,
        since="0.1",
    ),
    "member": Printed(
        title="hnexport member --json",
        text="The members that were written as plain networks. Where one differs it is a parity report alone.",
        root=_member,
    ),
    "deploy-triton": Printed(
        title="hnexport deploy triton --json",
        text="The model repository that was written.",
        root=_triton,
    ),
    "tune": Printed(title="hnexport tune --json", text="What was made for this machine.", root=_tune),
    "recalibrate": Printed(
        title="hnexport recalibrate --json", text="The statistics that were estimated.", root=_recalibrate
    ),
    "replay": Printed(
        title="hnexport verify --replay --json",
        text="One saved case, run again. Numbers that are not finite are null.",
        root=_replay,
        since="0.1",
    ),
}
