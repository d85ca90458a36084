"""A picture through a member in ncnn, converted by pnnx: prints the class that it ranks first.

PYTHONPATH=../python python picture.py BUNDLE MEMBER.pt PICTURE
"""

import subprocess
import sys
from pathlib import Path

import ncnn
import numpy as np
from pictures import as_input, class_names, read_manifest


def convert(member: Path, shape: list[int]) -> None:
    """Write MEMBER.ncnn.param and MEMBER.ncnn.bin, in float32; pnnx makes underscores of dashes."""
    pnnx = Path(sys.executable).with_name("pnnx")
    sizes = ",".join(map(str, shape))
    subprocess.run([pnnx, member.resolve(), f"inputshape=[1,{sizes}]", "fp16=0"], cwd=member.parent, check=True)


def main(bundle: Path, member: Path, picture: Path) -> None:
    manifest = read_manifest(bundle)
    converted = member.with_name(member.stem.replace("-", "_") + ".ncnn.param")
    if not converted.exists():
        convert(member, manifest["inputs"][1]["shape"][1:])
    net = ncnn.Net()
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, option, False)  # float32, where the processor has fewer bits too
    net.load_param(str(converted))
    net.load_model(str(converted.with_suffix(".bin")))
    extractor = net.create_extractor()
    image = as_input(manifest, picture)[0]  # one image, without the batch axis
    extractor.input("in0", ncnn.Mat(image).clone())  # the Mat refers to `image`, which has to live until it is copied
    logits = np.array(extractor.extract("out0")[1])
    print(class_names(manifest)[int(logits.argmax())])


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
