"""A picture through a member's .tflite in LiteRT: prints the class that it ranks first.

PYTHONPATH=../python python picture.py BUNDLE MEMBER.tflite PICTURE
"""

import sys
from pathlib import Path

from ai_edge_litert.interpreter import Interpreter
from pictures import as_input, class_names, read_manifest


def main(bundle: Path, member: Path, picture: Path) -> None:
    manifest = read_manifest(bundle)
    interpreter = Interpreter(str(member))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], as_input(manifest, picture))  # one image a call
    interpreter.invoke()
    logits = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    print(class_names(manifest)[int(logits[0].argmax())])


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
