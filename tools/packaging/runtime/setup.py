"""Where the modules lie, and a build folder that is new each time: in one that is kept, what is gone would stay."""

import os
import tempfile
from pathlib import Path

from setuptools import find_namespace_packages, setup

HERE = Path(__file__).resolve().parent
MODULES = HERE if (HERE / "hnexport").is_dir() else HERE.parents[2]  # a source distribution, or a clone
PACKAGES = find_namespace_packages(str(MODULES), include=["hnexport", "hnexport.*"])

with tempfile.TemporaryDirectory() as folder:
    setup(
        package_dir={"hnexport": os.path.relpath(MODULES / "hnexport", HERE).replace(os.sep, "/")},
        packages=PACKAGES,
        options={"build": {"build_base": folder}},
    )
