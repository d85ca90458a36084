"""onnxruntime for Node.js, by the example."""

from runtimes.runtime import Runtime

RUNTIME = Runtime(
    name="onnxruntime-node",
    file="model.onnx",
    plain="plain.onnx",
    tools=("node", "npm"),
    prepare=(
        ("cp", "{examples}/node/predict.mjs", "{work}"),
        ("ln", "-sfn", "{packages}", "{work}/node_modules"),
    ),
    predict=("node", "{work}/predict.mjs", "{bundle}", "{golden}"),
    measure=("{python}", "-m", "runtimes.javascript", "measure", "node", "{bundle}/{file}", "{plain}", "{golden}"),
)
