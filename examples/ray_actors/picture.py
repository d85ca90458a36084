"""A picture through one member of a bundle in an actor of Ray: prints the class that it ranks first.

python picture.py BUNDLE MEMBER PICTURE
"""

import sys
from pathlib import Path

import ray

from hnexport.images import read_images
from hnexport.runtime import load


@ray.remote(num_cpus=1)
class Ensemble:
    def __init__(self, bundle: Path) -> None:
        self.loaded = load(bundle, threads=1)  # as many as num_cpus

    def classify(self, member: int, picture: Path) -> str:
        images = read_images([picture], self.loaded.image_input).images  # normalised as the bundle says
        best = int(self.loaded.predict(images, member=member)[0].argmax())
        return self.loaded.class_names[best] if self.loaded.class_names else f"class {best}"


def main(bundle: Path, member: int, picture: Path) -> None:
    ray.init(num_cpus=1, include_dashboard=False)
    actor = Ensemble.remote(bundle.resolve())  # type: ignore[attr-defined] # a process that keeps its members' weights
    print(ray.get(actor.classify.remote(member, picture.resolve())))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
