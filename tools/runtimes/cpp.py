"""C++ examples, whose CMakeLists.txt builds `predict` and `time`."""

from runtimes.runtime import Runtime

SHAPE = ("3", "32", "32")


def cpp_runtime(
    example: str, *, name: str, file: str, plain: str, prefix: str, packages: tuple[str, ...] = ()
) -> Runtime:
    """A runtime whose example is in `examples/EXAMPLE`.

    Args:
        prefix: Python that prints where CMake finds the libraries.
    """
    configure = (
        f'cmake -S "$1" -B "$2" -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$("$0" -c "{prefix}")" && '
        'cmake --build "$2" --parallel 2'
    )
    return Runtime(
        name=name,
        file=file,
        plain=plain,
        packages=packages,
        tools=("cmake", "g++"),
        prepare=(("bash", "-c", configure, "{python}", f"{{examples}}/{example}", "{work}/build"),),
        predict=("{work}/build/predict", "{bundle}", "{golden}", *SHAPE, "{ids}"),
        picture=("{work}/build/picture", "{bundle}", "{id}", "{ppm}"),
        measure=("{work}/build/time", "{bundle}/{file}", "{plain}", "{golden}", *SHAPE),
    )
