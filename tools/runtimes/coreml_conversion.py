"""CoreML, which only macOS runs: converted by the example."""

from runtimes.runtime import Runtime

RUNTIME = Runtime(
    name="CoreML",
    file="model.pt2",
    version_of="coremltools",
    prepare=(("{python}", "{examples}/coreml/convert.py", "{bundle}", "{work}/model.mlpackage"),),
    conversion="converted, not run: only macOS runs it",
)
