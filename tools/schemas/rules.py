"""What a field's type does not say and its reader asks for. A test sees to it that readers refuse whatever these do."""

from collections.abc import Mapping
from typing import Any

from hnexport.spec.tensors import _ITEM_BYTES as DTYPES

__all__ = ["DESCRIPTIONS", "NULLABLE", "RULES", "SINCE"]

Rule = dict[str, Any]

_LEAST_0: Rule = {"minimum": 0}
_LEAST_1: Rule = {"minimum": 1}
_SHARE: Rule = {"minimum": 0, "maximum": 1}
_WITHIN: Rule = {"exclusiveMinimum": 0, "exclusiveMaximum": 1}
_SHA256: Rule = {"pattern": "^[0-9a-f]{64}$"}
_DIGEST: Rule = {"pattern": "^sha256:[0-9a-f]{64}$"}
_DTYPE: Rule = {"enum": list(DTYPES)}
_NO_FOLDER: Rule = {"pattern": "^[^/]*$"}
_SIZES: Rule = {"maxItems": 64, "items": {"minimum": 0}}
_EACH_LEAST_0: Rule = {"items": _LEAST_0}
_EACH_LEAST_1: Rule = {"items": _LEAST_1}
_SOME: Rule = {"minItems": 1}

RULES: Mapping[str, Rule] = {
    "FileRecord.size_bytes": {"minimum": 0, "maximum": 2**50},
    "FileRecord.sha256": _SHA256,
    "OnnxInfo.opset": _LEAST_1,
    "OnnxInfo.ir_version": _LEAST_1,
    "OnnxInfo.supplied": {"uniqueItems": True},
    "ArtifactParity.relative_l2": _LEAST_0,
    "ArtifactParity.multiple_of_eager": _LEAST_0,
    "ArtifactParity.members_checked": _LEAST_1,
    "BasisJudgement.data": _NO_FOLDER,
    "BasisJudgement.samples": _LEAST_1,
    "BasisJudgement.relative_l2": _LEAST_0,
    "BasisJudgement.agreement": _SHARE,
    "BasisJudgement.accuracy": _SHARE,
    "BasisJudgement.accuracy_before": _SHARE,
    "BasisRounding.bases": _LEAST_0,
    "BasisRounding.logits": _LEAST_0,
    "BasisRounding.members": _EACH_LEAST_0,
    "BasisRounding.agreement": _SHARE,
    "AsTrained.file": _NO_FOLDER,
    "AsTrained.members": {**_SOME, **_EACH_LEAST_0},
    "AsTrained.samples": _LEAST_1,
    "AsTrained.outputs": _SOME,
    "AsTrained.relative_l2": _LEAST_0,
    "AsTrained.tolerance": _LEAST_0,
    "Temperature.value": {"exclusiveMinimum": 0},
    "Temperature.rows": _LEAST_1,
    "Temperature.source": _DIGEST,
    "Anytime.order": {**_SOME, "uniqueItems": True, **_EACH_LEAST_0},
    "Anytime.confidence": _WITHIN,
    "Anytime.least": _LEAST_1,
    "Anytime.members": _LEAST_1,
    "Anytime.rows": _LEAST_1,
    "Anytime.level": _WITHIN,
    "Anytime.max_accuracy_drop": _WITHIN,
    "Anytime.max_changed": _WITHIN,
    "Anytime.max_ece_rise": _WITHIN,
    "Anytime.source": _DIGEST,
    "Manifest.schema": {"const": "hnexport-bundle"},
    "Manifest.schema_version": {"const": 2},
    "Manifest.members": _LEAST_1,
    "Manifest.inputs": {"minItems": 1, "maxItems": 1000},
    "Manifest.outputs": {"minItems": 1, "maxItems": 1000},
    "Manifest.slots": {"maxItems": 100_000},
    "Manifest.stored": {"maxItems": 100_000},
    "Manifest.formats": {**_SOME, "uniqueItems": True},
    "Manifest.files": {"maxProperties": 1000},
    "Manifest1.schema": {"const": "hnexport-bundle"},
    "Manifest1.schema_version": {"const": 1},
    "Manifest1.formats": {**_SOME, "uniqueItems": True},
    "Manifest1.inputs": {"minItems": 2, "maxItems": 2},
    "Manifest1.outputs": {"minItems": 1, "maxItems": 1},
    "Manifest1.files": {"maxProperties": 1000},
    "TensorSpec.dtype": _DTYPE,
    "TensorSpec.shape": _SIZES,
    "OutputSpec.dtype": _DTYPE,
    "OutputSpec.shape": _SIZES,
    "Slot.dtype": _DTYPE,
    "Slot.shape": _SIZES,
    "Slot.name": {"minLength": 1},
    "StoredTensor.dtype": _DTYPE,
    "StoredTensor.shape": _SIZES,
    "StoredTensor.name": {"minLength": 1},
    "Usage.class_names": {"additionalProperties": {"items": {"minLength": 1, "maxLength": 200}}},
    "Usage.license": {"pattern": "^[A-Za-z0-9][A-Za-z0-9.+-]{0,63}$"},
    "Usage.assumed": {"maxItems": 32, "uniqueItems": True, "items": {"pattern": "^[a-z][a-z-]{0,63}$"}},
    "Normalisation.mean": _SOME,
    "Normalisation.std": {**_SOME, "items": {"exclusiveMinimum": 0}},
    "PreprocessSpec.std": {"items": {"exclusiveMinimum": 0}},
    "WideResNetSpec.blocks_per_group": _LEAST_1,
    "WideResNetSpec.widening": _LEAST_1,
    "WideResNetSpec.classes": _LEAST_1,
    "WideResNetSpec.feature_maps": _EACH_LEAST_1,
    "WideResNetSpec.dropout": {"minimum": 0, "exclusiveMaximum": 1},
    "ImageSpec.channels": _LEAST_1,
    "ImageSpec.height": _LEAST_1,
    "ImageSpec.width": _LEAST_1,
    "PipelineSpec.members": _LEAST_1,
    "HypernetSpec.embedding_sizes": _EACH_LEAST_1,
    "HypernetSpec.hidden_layers": _EACH_LEAST_1,
    "ModuleRecipe.rules": _SOME,
    "ModuleRecipe.embedding_size": _LEAST_1,
    "ModuleRecipe.embedding_sizes": {"additionalProperties": _LEAST_1},
    "ModuleRecipe.chunk_size": _LEAST_1,
    "ModuleRecipe.hidden_layers": _EACH_LEAST_1,
    "Rule.pattern": {"minLength": 1},
    "InternalHypernet.chunks": _LEAST_1,
    "InternalHypernet.chunk_size": _LEAST_1,
    "InternalHypernet.embedding_size": _LEAST_1,
    "Assembly.pieces": _SOME,
    "GoldenIndex.schema": {"const": "hnexport-golden"},
    "GoldenIndex.schema_version": {"const": 2},
    "GoldenIndex.manifest_sha256": _SHA256,
    "GoldenDescription.fingerprints": {"additionalProperties": _SHA256},
    "GoldenDescription.conditions": {"maxItems": 64},
    "Evaluation.members": _SOME,
    "Evaluation.samples": _LEAST_1,
    "Evaluation.bins": _LEAST_1,
    "Evaluation.sources": _SOME,
    "Plan.schema": {"const": "hnexport-predictions"},
    "Plan.schema_version": {"const": 1},
}

NULLABLE = frozenset(
    {
        "ArtifactReport.ensemble_error",
        "ArtifactReport.repeat_spread",
        "Comparison.margin",
        "Comparison.multiple_of_eager",
        "Comparison.relative_l2",
        "Comparison.worst_absolute",
        "OutputComparison.margin",
        "OutputComparison.multiple_of_eager",
        "OutputComparison.relative_l2",
        "OutputComparison.worst_absolute",
        "OutputComparison.worst_ill",
        "Step.error",
        "Tolerance.multiple_of_eager",
    }
)
"""Numbers that may be infinite or NaN, for which JSON has null."""

DESCRIPTIONS: Mapping[str, str] = {}
"""Where a docstring is for programmers and a reader of the format needs other words."""

_IN_0_2 = (
    "ArtifactReport.batch_sizes, ArtifactReport.not_checked, BasisRounding.agreement, BasisRounding.judged, "
    "Comparison.outputs, Comparison.reason, GoldenDescription.conditions, GoldenDescription.resized, "
    "GoldenDescription.spoils, Manifest.anytime, Manifest.as_trained, Manifest.conditions, Manifest.members, "
    "Manifest.slots, Manifest.source, Manifest.stored, Manifest.temperature, Manifest.usage, ParityReport.claims, "
    "ParityReport.ill_conditioned, ParityReport.left_out, ParityReport.ranges, ParityReport.seed, "
    "ParityReport.selection, ParityReport.unjudged, Tolerance.excused, Tolerance.functions, Tolerance.rounding"
)
SINCE: Mapping[str, str] = dict.fromkeys(_IN_0_2.split(", "), "0.2")
"""Fields that came later than their document, of those documents that hnexport 0.1 wrote too."""
