"""onnxruntime for Node.js, by the example."""

from runtimes.chromium import COMMAND
from runtimes.runtime import Runtime

RUNTIME = Runtime(
    name="onnxruntime-node",
    file="model.onnx",
    plain="plain.onnx",
    own="own.onnx",
    exporter="torch.onnx.export",
    tools=("node", "npm"),
    prepare=(
        ("cp", "{examples}/node/predict.mjs", "{examples}/node/picture.mjs", "{work}"),
        ("ln", "-sfn", "{packages}", "{work}/node_modules"),
    ),
    predict=("node", "{work}/predict.mjs", "{bundle}", "{golden}"),
    picture=("node", "{work}/picture.mjs", "{bundle}", "{id}", "{picture}"),
    measure=(*COMMAND, "measure", "node", "{bundle}/{file}", "{plain}", "{own}", "{golden}"),
)
