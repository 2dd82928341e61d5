"""JPEG files for a benchmark: a stratified part of the training photographs, as files in class folders."""

import argparse
import random
from pathlib import Path

from tench.data.sources import open_source


def write(data: str, folder: Path, n: int) -> None:
    """`n` training pictures of `data`, drawn evenly from the classes, and an eighth as many to score, as files below `folder`."""
    source = open_source(data)
    by_split: dict[str, dict[int, list[int]]] = {"train": {}, "val": {}}
    for i, picture in enumerate(source.pictures):
        by_split[picture.split].setdefault(picture.label, []).append(i)
    for split, classes in by_split.items():
        for members in classes.values():  # by name, those of ImageNet's validation set would come first
            random.Random(0).shuffle(members)
        wanted = n if split == "train" else max(len(classes), n // 8)
        chosen = [classes[label][k] for k in range(10**6) for label in classes if k < len(classes[label])][:wanted]
        for position, content in source.stream(chosen):
            path = folder / split / source.classes[source.pictures[position].label].id / Path(source.pictures[position].name).name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("folder", type=Path)
    parser.add_argument("n", type=int)
    write(**vars(parser.parse_args()))
