"""Images that show how they were cropped, flipped and ordered."""

from __future__ import annotations

import numpy as np

from p2plib.config import TrainConfig

SIZE = 32


def coordinates(index: int, size: int = SIZE) -> np.ndarray:
    """An image whose pixels tell their place (red, green) and their pair (blue)."""
    rows, columns = np.mgrid[:size, :size] * 5
    return np.stack([rows, columns, np.full_like(rows, index)], -1).astype(np.uint8)


def config(folder, **values) -> TrainConfig:
    return TrainConfig(**{"data": str(folder), "image_size": SIZE, "batch_size": 2, "seed": 5, **values})
