"""Ray: hnexport.runtime in actors, processes of their own, by the example."""

from pathlib import Path

from runtimes.runtime import Runtime

IN_PLACE = Path(__file__).parents[1] / "packaging" / "editable"

RUNTIME = Runtime(
    name="Ray, actors",
    file="network.onnx",
    packages=("pillow", str(IN_PLACE), "onnxruntime", "ray"),
    version_of="ray",
    predict=("{python}", "{examples}/ray_actors/predict.py", "{bundle}", "{golden}"),
    picture=("{python}", "{examples}/ray_actors/picture.py", "{bundle}", "{id}", "{picture}"),
)
