"""Pictures through every member of a bundle in an actor of Ray: prints what they say of each together.

python picture.py BUNDLE PICTURE...
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

    def classify(self, pictures: list[Path]) -> list[str]:
        images = read_images(pictures, self.loaded.image_input).images  # normalised as the bundle says
        best = self.loaded.predict_mean(images).probabilities.argmax(axis=-1)
        names = self.loaded.class_names or [f"class {number}" for number in range(self.loaded.classes)]
        return [names[number] for number in best]


def main(bundle: Path, *pictures: Path) -> None:
    ray.init(num_cpus=1, include_dashboard=False)
    actor = Ensemble.remote(bundle.resolve())  # a process that keeps its members' weights
    for picture, name in zip(pictures, ray.get(actor.classify.remote([p.resolve() for p in pictures])), strict=True):
        print(f"{picture}: {name}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
