"""onnxruntime from C++, by the example: the wheel's library, and headers that the wheel does not have."""

import os

from runtimes.cpp import SHAPE
from runtimes.runtime import Runtime

INCLUDE = os.environ.get("ONNXRUNTIME_INCLUDE", "")
_FIND = (
    "import pathlib, onnxruntime; folder = pathlib.Path(onnxruntime.__file__).parent / 'capi'; "
    "print(next(folder.glob('libonnxruntime.so.*')))"
)
_BUILD = (
    f'library=$("$0" -c "{_FIND}") && cmake -S "$1" -B "$2" -DCMAKE_BUILD_TYPE=Release -DONNXRUNTIME_INCLUDE="$3" '
    '-DONNXRUNTIME_LIBRARY="$library" && cmake --build "$2" && ln -sf "$library" "$2/libonnxruntime.so.1"'
)

RUNTIME = Runtime(
    name="onnxruntime, C++, materialised",
    file="network.onnx",
    packages=("hnexport-runtime[cpu]",),
    tools=("cmake", "g++"),
    prepare=(("bash", "-c", _BUILD, "{python}", "{examples}/cpp_onnxruntime", "{work}/build", INCLUDE),),
    predict=("env", "LD_LIBRARY_PATH={work}/build", "{work}/build/predict", "{bundle}", "{golden}", *SHAPE, "{ids}"),
    picture=("env", "LD_LIBRARY_PATH={work}/build", "{work}/build/picture", "{bundle}", "{id}", "{ppm}"),
    not_run="" if INCLUDE else "written, not run: no onnxruntime_cxx_api.h here (name its folder, ONNXRUNTIME_INCLUDE)",
)
