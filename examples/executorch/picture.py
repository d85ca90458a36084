"""A picture through a member's .pte in ExecuTorch: prints the class that it ranks first.

PYTHONPATH=../python python picture.py BUNDLE MEMBER.pte PICTURE
"""

import sys
from pathlib import Path

import torch
from executorch.runtime import Runtime
from pictures import as_input, class_names, read_manifest


def main(bundle: Path, member: Path, picture: Path) -> None:
    manifest = read_manifest(bundle)
    method = Runtime.get().load_program(member).load_method("forward")
    (logits,) = method.execute([torch.from_numpy(as_input(manifest, picture))])  # one image a call
    print(class_names(manifest)[int(logits[0].argmax())])


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
