"""Test-time augmentation beside the scores: runs scored again with the answers to a picture and to its mirror image averaged.

Nothing is chosen by it: the scores of records and tables stay those of one view.
"""

import argparse
import os
import sys
from statistics import mean, stdev

import numpy as np
from harness import ROOT


def main() -> None:
    """Print a Markdown table, a line a run, and the mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="ids or folders of finished runs that still have their weights")
    parser.add_argument("--data", default=os.environ.get("TENCH_DATA"), help="the pictures of the runs")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT / "src"))
    import tench
    from tench.data.cache import decoded
    from tench.data.sources import open_source

    source = open_source(options.data)
    test = np.array([i for i, picture in enumerate(source.pictures) if picture.split == "val"])
    labels = np.array([source.pictures[i].label for i in test])
    found = []
    print("| run | one view, top-1 % | with its mirror image |\n|---|---|---|")
    for name in options.runs:
        recogniser = tench.load(name)
        if recogniser.run is None or recogniser.run.record.data.sha256 != source.sha256:
            sys.exit(f"{name} is not a run on these pictures ({source.sha256[:12]}); name others by --data.")
        pixels = decoded(source, recogniser.preprocessing)[test]
        views = [np.exp(recogniser.log_probabilities(view)) for view in (pixels, pixels[:, :, ::-1])]
        found.append([100 * float((view.argmax(1) == labels).mean()) for view in (views[0], views[0] + views[1])])
        print(f"| {name} | {found[-1][0]:.2f} | {found[-1][1]:.2f} |", flush=True)
    columns = [[row[i] for row in found] for i in range(2)]
    spread = [f"{mean(column):.2f} (sd {stdev(column):.2f})" if len(column) > 1 else f"{column[0]:.2f}" for column in columns]
    print(f"| mean of {len(found)} | {spread[0]} | {spread[1]} |")


if __name__ == "__main__":
    main()
