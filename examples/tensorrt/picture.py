"""A picture through a member's engine in TensorRT: prints the class that it ranks first.

PYTHONPATH=../python python picture.py BUNDLE MEMBER.onnx PICTURE
"""

import sys
from pathlib import Path

from pictures import as_input, class_names, read_manifest
from predict import build_engine, run


def main(bundle: Path, member: Path, picture: Path) -> None:
    manifest = read_manifest(bundle)
    inputs = {"image": as_input(manifest, picture)}
    engine = build_engine(member, inputs)
    names = class_names(manifest)
    logits = run(engine, inputs, [{"name": "logits", "shape": [1, len(names)], "dtype": "float32"}])["logits"]
    print(names[int(logits[0].argmax())])


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
