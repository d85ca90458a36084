"""libtorch from C++, by the example; the libraries are those of the wheel."""

from runtimes.cpp import cpp_runtime

RUNTIME = cpp_runtime(
    "cpp_libtorch",
    name="libtorch, C++",
    file="model.pt",
    plain="plain.pt",
    prefix="import torch; print(torch.utils.cmake_prefix_path)",
)
