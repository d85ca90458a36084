"""Which blocks and commands of the pages are only checked, and why. Everything that is in no table is run.

Keys are pages; commands are named by how they begin. A test sees to it that each entry still stands in its page.
"""

PYTHON = {
    "docs/contributing/testing.md": {"@pytest.mark.parametrize": "a text of tests; tests/support/thorough.py"},
    "docs/explanation/int8.md": {
        "from hnexport.runtime import load": "after `hnexport tune --precision int8`; tests/runtime runs it",
    },
    "docs/explanation/plain-speed.md": {
        "from hnexport.runtime import load, share_threads": "once in a process; tests/runtime/test_shares.py runs it",
    },
    "docs/explanation/speed.md": {
        "from hnexport.runtime import load\n\n\ndef memory": "measures a process of its own, on Linux",
    },
    "docs/howto/late-phase.md": {
        "import dill": "for the environment of the late-phase code, which pickles its own modules",
        "import torch": "needs torchvision and the authors' checkpoints",
    },
    "docs/howto/serve.md": {
        "import numpy as np\nimport tritonclient": "needs a server; tests/serve/test_process.py asks one so",
    },
    "docs/runtimes/triton.md": {
        "import numpy as np\nimport tritonclient": "needs a server; `make triton-test` has one"
    },
    "docs/runtimes/onnxruntime-python.md": {
        'options = {"use_tf32"': "needs a GPU; tests/runtime/test_cuda.py loads with the same option",
    },
    "tests/data/README.md": {"network = WideResNetSpec": "what hnexport 0.1.0 ran, years ago; never made again"},
    "tools/packaging/runtime/README.md": {
        "from hnexport.runtime import load": "for a reader's own bundle; tests/distributions runs the wheel"
    },
}
"""Python blocks that are compiled, not run."""

COMMANDS = {
    "README.md": {
        "hnexport build --hypnettorch ensemble.pt": "the reader's own file; tests/cli/test_trained.py",
        "hnexport build --checkpoint ensemble.safetensors": "the reader's own file; tests/cli/test_trained.py",
        "hnexport bench bundles/wrn-28-10-hypernet-10 --seconds 60": "an hour; through Python, tests/bench",
    },
    "docs/explanation/int8.md": {
        "hnexport tune bundles/digits": "the bundle of `make digits`; tests/tune/test_int8.py",
        "hnexport member bundles/digits": "the bundle of `make digits`; tests/member/test_int8.py",
    },
    "docs/howto/verify.md": {
        "hnexport verify BUNDLE --members 2,3,7 --provider": "needs a GPU; through Python, tests/parity/test_cuda.py",
        "hnexport verify model_simplified.onnx": "the reader's own file; tests/cli/test_locate.py",
        "hnexport verify BUNDLE --outputs FOLDER": "needs another runtime's outputs; tests/cli/test_golden.py",
        "hnexport verify BUNDLE --replay": "needs a failure; tests/cli/test_locate.py",
        "hnexport locate BUNDLE --against": "the reader's own file; through Python, tests/parity/test_locate.py",
    },
    "docs/explanation/speed.md": {"hnexport bench": "minutes; through Python, tests/bench runs small ones"},
    "docs/howto/anytime.md": {
        "hnexport evaluate BUNDLE HELD_OUT": "takes 714 rows; tests/cli/test_evaluate_rule.py",
        "hnexport predict NEW IMAGE": "what the line before it writes; tests/cli/test_evaluate_rule.py",
        "hnexport evaluate NEW TEST": "what the line before it writes; tests/cli/test_evaluate_rule.py",
    },
    "docs/howto/evaluate.md": {
        "hnexport evaluate BUNDLE DATA --runtimes all --from": "the reader's own code; tests/cli/test_evaluate_from.py",
        "hnexport evaluate BUNDLE DATA --precision": "once tuned; through Python, tests/evaluate/test_precisions.py",
        "hnexport bench BUNDLE --json": "minutes; through Python, tests/bench runs small ones",
    },
    "docs/howto/fewer-bits.md": {
        "hnexport build --checkpoint digits.safetensors": "the checkpoint of train_digits.py; tests/cli/test_bases.py"
    },
    "docs/howto/from.md": {
        "hnexport build --from train.py:make": "the reader's own code; tests/cli/test_build_from.py",
        "hnexport build --from package.module:make": "the reader's own code; tests/cli/test_build_from.py",
    },
    "docs/howto/hypnettorch.md": {
        "hnexport build --from train.py:make": "the reader's own script; tests/cli/test_build_live.py",
        "hnexport build --hypnettorch run.ckpt": "the reader's own file; tests/cli/test_trained.py",
    },
    "docs/howto/late-phase.md": {"hnexport": "the reader's own file; tests/cli/test_late_phase.py"},
    "docs/howto/score.md": {
        "hnexport predict BUNDLE photos/ --out predictions.parquet --workers ray": (
            "starts Ray, as tests/score/test_ray.py does; tests/cli/test_predict_dataset.py"
        )
    },
    "docs/howto/serve.md": {"hnexport serve": "never ends; tests/serve/test_process.py"},
    "docs/howto/training.md": {
        "hnexport recalibrate": "the reader's own files; tests/cli/test_recalibrate.py",
    },
    "docs/howto/trust.md": {"hnexport": "the digest is the bundle's; through Python, tests/bundle/test_digest.py"},
    "docs/howto/web.md": {
        "hnexport deploy web bundles/wrn-28-10-hypernet-10 --serve": "never ends; tests/cli/test_deploy.py"
    },
}
"""Commands of hnexport that are parsed, with all their options, not run, and the test that runs such a command.

The file or folder that is named has the command's name and each option of it; "through Python", the name alone.
"""

LATER = (
    *("hnexport build", "hnexport verify", "hnexport locate", "hnexport tune", "hnexport convert", "hnexport member"),
    *("hnexport evaluate BUNDLE HELD_OUT --out", "hnexport evaluate NEW", "hnexport evaluate BUNDLE DATA --runtimes"),
)
"""Commands that take seconds: run by `make docs-test` (HNEXPORT_DOCS=1), parsed in `make test`."""

PROGRAMS = {
    ".venv/bin/pip": "needs an index",
    "build/picture": "what CMake builds: `make runtimes-test`",
    "build/predict": "what CMake builds: `make runtimes-check`",
    "cmake": "needs a compiler and a runtime's libraries: `make runtimes-check`",
    "convert": "needs ImageMagick",
    "curl": "needs a server: tests/serve",
    "docker": "needs Docker",
    "git": "changes a repository",
    "kubectl": "needs Kubernetes",
    "make": "the targets exist",
    "mlflow": "needs MLflow: `make runtimes`",
    "node": "needs npm's packages: `make runtimes-check`",
    "npm": "needs npm's registry",
    "pip": "needs an index; the extras exist",
    "pre-commit": "needs its hooks from the network",
    "python3": "makes an environment",
    "python": "the file exists; `make runtimes` runs those of examples/",
    "tritonserver": "needs Triton: `make triton-test`",
}
"""Other programs, which are not run: what is held against the repository instead, or who runs them."""

LANGUAGES = {
    "{eval-rst}": "for Sphinx: `make docs`",
    "{toctree}": "for Sphinx: `make docs`",
    "cpp": "a part of an example, word for word",
    "js": "parsed by Node.js, where the machine has it",
    "json": "parsed, and read as what it shows",
    "python": "run, or compiled where the table above says so",
    "sh": "run, or parsed",
    "text": "what a block prints, or is no code",
    "toml": "parsed, and read as what it shows",
    "ts": "tests/web/test_usage.py compiles those of examples/web/README.md",
}
"""Languages that blocks may have, and what a test does with them."""
