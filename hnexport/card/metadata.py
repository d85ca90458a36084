"""The block of metadata at a card's head, in YAML as model hubs read it.

The fields are those of https://github.com/huggingface/hub-docs/blob/main/modelcard.md.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from hnexport.bundle.manifest import Format, Manifest
from hnexport.card.measured import Measured
from hnexport.families import image_input
from hnexport.spec import OutputKind
from hnexport.text import clean

__all__ = ["front_matter"]

_TAGS = {Format.ONNX: "onnx", Format.TORCHSCRIPT: "torchscript", Format.PT2: "torch-export"}
_PLAIN = re.compile(r"[a-z]+(?:[._-][a-z0-9]+)+|[a-z]{3,}")  # no number and no date
_NOT_PLAIN = frozenset({"true", "false", "null", "yes", "off"})
# Identifiers of https://huggingface.co/docs/hub/repositories-licenses that follow from SPDX's.
_HUB_LICENSES = """
afl-3.0 agpl-3.0 apache-2.0 artistic-2.0 bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 cc-by-2.0 cc-by-2.5
cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0
cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0 cdla-permissive-2.0
cdla-sharing-1.0 ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 gfdl gpl-2.0 gpl-3.0 isc lgpl-2.1 lgpl-3.0
lppl-1.3c mit mpl-2.0 ms-pl ncsa odbl odc-by ofl-1.1 osl-3.0 pddl postgresql unlicense wtfpl zlib openmdw-1.0
openmdw-1.1 openrail unknown other
"""
_CALLED: Mapping[str, str] = MappingProxyType({"odbl-1.0": "odbl", "odc-by-1.0": "odc-by", "pddl-1.0": "pddl"})


def front_matter(manifest: Manifest, measured: Sequence[Measured]) -> str:
    """The block, with its two rules."""
    pipeline = _pipeline(manifest)
    fields: dict[str, Any] = {
        "library_name": "hnexport",
        **_license(manifest.usage.license),
        **({"pipeline_tag": pipeline} if pipeline else {}),
        "tags": _tags(manifest),
    }
    scored = [one for one in measured if one.scores]
    if scored:
        metrics = [score.metric for one in scored for score in one.scores]
        fields["metrics"] = list(dict.fromkeys(metrics))
        fields["model-index"] = [{"name": manifest.name, "results": [_result(manifest, one) for one in scored]}]
    return "\n".join(["---", *_lines(fields), "---"])


def _pipeline(manifest: Manifest) -> str | None:
    """What hubs call the task, where inputs and outputs alone say it."""
    outputs = manifest.outputs
    is_one = len(outputs) == 1 and outputs[0].kind is OutputKind.LOGITS and len(outputs[0].shape) == 2
    return "image-classification" if is_one and image_input(manifest) is not None else None


def _license(given: str | None) -> dict[str, str]:
    """A licence as hubs call it; one that is not on their list is `other`, with its name."""
    if given is None:
        return {}
    known = re.sub(r"-(only|or-later)$", "", given.lower())
    known = _CALLED.get(known, known)
    if known in _HUB_LICENSES.split():
        return {"license": known}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9.-]", "-", given.lower())}


def _tags(manifest: Manifest) -> list[str]:
    tags = ["hnexport", "ensemble", manifest.source.family, "uncertainty"]
    tags += [_TAGS[one] for one in manifest.formats]
    tags += ["pytorch"] * bool({Format.TORCHSCRIPT, Format.PT2} & set(manifest.formats))
    generated = any(stored.hypernet is not None for stored in manifest.stored) or bool(manifest.conditions)
    return list(dict.fromkeys([*tags, *["hypernetwork"] * generated]))


def _result(manifest: Manifest, measured: Measured) -> dict[str, Any]:
    kind = manifest.signature.output(measured.output).kind
    general = "classification" if kind is OutputKind.LOGITS else "regression"
    return {
        "task": {"type": _pipeline(manifest) or general},
        "dataset": {"type": measured.data, "name": measured.data},
        "metrics": [{"type": one.metric, "value": one.value, "name": one.name} for one in measured.scores],
    }


def _lines(value: Any, indent: str = "") -> Iterator[str]:
    """A mapping or a list in YAML's block form, a line each."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(item, Mapping | list):
                yield f"{indent}{key}:"
                yield from _lines(item, indent + "  " * isinstance(item, Mapping))
            else:
                yield f"{indent}{key}: {_scalar(item)}"
        return
    for item in value:
        if not isinstance(item, Mapping):
            yield f"{indent}- {_scalar(item)}"
            continue
        first, *others = _lines(item, f"{indent}  ")
        yield f"{indent}- {first.lstrip()}"
        yield from others


def _scalar(value: str | float) -> str:
    """A number as every version of YAML reads it; a text plain where it can mean nothing else, otherwise quoted."""
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value not in _NOT_PLAIN
        return value if plain else json.dumps(clean(value), ensure_ascii=False)
    digits = 6 if abs(value) >= 1e-3 or not value else 4 - math.floor(math.log10(abs(value)))
    return f"{value:.{digits}f}"
