"""A folder like npm's package onnxruntime-web: what is copied of it, without the megabytes."""

import json
from pathlib import Path

from hnexport.deploy.javascript_runtime import PROVIDER_FILES


def runtime_package(folder: Path, version: str = "1.30.0", name: str = "onnxruntime-web") -> Path:
    """The package in a new folder; each file holds its own name."""
    (folder / "dist").mkdir(parents=True)
    for names in PROVIDER_FILES.values():
        for one in names:
            (folder / "dist" / one).write_text(one, encoding="utf-8")
    (folder / "package.json").write_text(json.dumps({"name": name, "version": version}), encoding="utf-8")
    return folder
