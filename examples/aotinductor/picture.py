"""A picture through one member of model.pt2, compiled by AOTInductor: prints the class that it ranks first.

PYTHONPATH=../python python picture.py BUNDLE MEMBER PICTURE COMPILED.pt2
"""

import sys
from pathlib import Path

import torch
from pictures import as_input, class_names, existing_member, read_manifest


def main(bundle: Path, member: str, picture: Path, compiled: Path) -> None:
    manifest = read_manifest(bundle)
    if not compiled.exists():  # minutes for a large network, once for each kind of processor
        program = torch.export.load(bundle / "model.pt2")
        torch._inductor.aoti_compile_and_package(program, package_path=str(compiled))
    model = torch._inductor.aoti_load_package(str(compiled))
    cond_id, image = torch.tensor(existing_member(manifest, member)), torch.from_numpy(as_input(manifest, picture))
    logits = model(cond_id, image)  # [batch, class]
    print(class_names(manifest)[int(logits[0].argmax())])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
