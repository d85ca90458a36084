"""Built in a folder that is new each time: what is gone from the package would stay in one that is kept."""

import tempfile

from setuptools import setup

with tempfile.TemporaryDirectory() as folder:
    setup(options={"build": {"build_base": folder}})
