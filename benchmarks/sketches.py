"""Compare `sketch` with the edges of a data set of edges | photo, and measure photos per second.

    python benchmarks/sketches.py --data FOLDER [--split val] [--sheet sketches.png]

A drawn pixel is correct if a pixel of their edges is at most `--within` pixels away. A pixel of their edges is found if
a drawn pixel is.
"""

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy.ndimage import distance_transform_edt

from p2plib.data.image import resize_image, save_image, tile_images
from p2plib.data.sketch import EDGES, PENCIL, sketch
from p2plib.data.tasks.pairs import Pairs


def overlap(drawn: np.ndarray, theirs: np.ndarray, within: float) -> tuple[float, float]:
    """Precision and recall of the ink of one drawing, both uint8 (H, W, 3)."""
    ours, edges = drawn[..., 0] < 128, theirs[..., 0] < 128
    if not ours.any() or not edges.any():
        return 0.0, 0.0
    precision = (distance_transform_edt(~edges)[ours] <= within).mean()
    recall = (distance_transform_edt(~ours)[edges] <= within).mean()
    return float(precision), float(recall)


def main() -> None:
    """Print the overlap over a split, and the speed; write a sheet of images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", default="edges2shoes", help="catalog name or folder, edges in A and photos in B")
    parser.add_argument("--split", default="val")
    parser.add_argument("--within", type=float, default=2.0, help="pixels")
    parser.add_argument("--sheet", help="where to write: theirs | EDGES | PENCIL | photo, of ten pairs")
    options = parser.parse_args()

    pairs = [pair.read() for pair in Pairs().list(options.data).splits[options.split]]
    drawn = [sketch(photo) for _, photo in pairs]
    scores = np.array([overlap(ours, edges, options.within) for ours, (edges, _) in zip(drawn, pairs, strict=True)])
    precision, recall = scores.mean(axis=0)
    f1 = np.mean(2 * scores.prod(axis=1) / np.maximum(scores.sum(axis=1), 1e-9))
    print(f"{options.split}: {len(pairs)} pairs, within {options.within:g} pixels")
    print(f"precision {precision:.3f}, recall {recall:.3f}, F1 {f1:.3f} (means over images)")

    photos = [resize_image(photo, 256, 256) for _, photo in pairs] * (200 // len(pairs) + 1)
    for name, style in (("EDGES", EDGES), ("PENCIL", PENCIL)):
        for threads in (1, os.cpu_count() or 1):
            with ThreadPoolExecutor(threads) as pool:
                began = time.perf_counter()
                list(pool.map(lambda photo, style=style: sketch(photo, style), photos))
                print(f"{name}: {len(photos) / (time.perf_counter() - began):.0f} photos/s at 256, {threads} threads")

    if options.sheet:
        rows = [[a, ours, sketch(b, PENCIL), b] for ours, (a, b) in zip(drawn[:10], pairs, strict=False)]
        save_image(options.sheet, tile_images(rows))


if __name__ == "__main__":
    main()
