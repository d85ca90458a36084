"""MLflow's onnx flavour, by the example."""

from pathlib import Path

from runtimes.runtime import Run, Runtime


def load(path: Path) -> Run:
    """A saved model as a Python function; MLflow sets its own threads."""
    import mlflow

    if path.is_file():  # the plain network
        import onnx

        saved = path.with_name(f"{path.stem}-mlflow")
        if not saved.exists():
            mlflow.onnx.save_model(onnx.load(path), str(saved))
        path = saved
    model = mlflow.pyfunc.load_model(str(path))
    names = ("cond_id", "image")
    return lambda *arrays: list(model.predict(dict(zip(names[-len(arrays) :], arrays, strict=True))).values())


RUNTIME = Runtime(
    name="MLflow, onnx flavour",
    file="model.onnx",
    plain="plain.onnx",
    packages=("onnx", "onnxruntime", "mlflow"),
    version_of="mlflow",
    load=load,
    predict=("{python}", "{examples}/mlflow/predict.py", "{bundle}", "{golden}", "{work}/model"),
)
