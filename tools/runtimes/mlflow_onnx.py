"""MLflow's onnx flavour, by the example."""

from pathlib import Path

from runtimes.runtime import IN_EXAMPLES, Run, Runtime


def convert(source: Path, target: Path) -> None:
    """As the example saves the bundle's."""
    import mlflow
    import onnx

    mlflow.onnx.save_model(onnx.load(source), str(target))


def load(path: Path) -> Run:
    """A saved model as a Python function; MLflow sets its own threads."""
    import mlflow

    model = mlflow.pyfunc.load_model(str(path))
    names = ("cond_id", "image")
    return lambda *arrays: list(model.predict(dict(zip(names[-len(arrays) :], arrays, strict=True))).values())


RUNTIME = Runtime(
    name="MLflow, onnx flavour",
    file="model.onnx",
    plain="plain.onnx",
    packages=("pillow", "onnx==1.23.2", "onnxruntime==1.31.1", "mlflow"),
    constrained=False,
    version_of="mlflow",
    convert=convert,
    suffix=".mlflow",
    load=load,
    predict=("{python}", "{examples}/mlflow/predict.py", "{bundle}", "{golden}", "{work}/model.mlflow"),
    picture=(*IN_EXAMPLES, "{examples}/mlflow/picture.py", "{bundle}", "{id}", "{picture}", "{work}/model.mlflow"),
)
