"""HDR video frames as ordinary 8-bit RGB: PQ and HLG are tone-mapped, and the wide gamut of BT.2020 becomes BT.709's.

Reference white, 203 nits (ITU-R BT.2408), comes close to white; up to 0.8 of it, light is kept as it is, and everything
brighter is compressed into the rest.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

PQ, HLG = 16, 18
"""FFmpeg's numbers for the transfer functions of HDR."""
BT2020 = 9  # its number for the wide gamut, and for the matrix of its YCbCr
WHITE = 203.0  # nits
KNEE = 0.8
GAMMA = 2.4  # of an SDR screen, ITU-R BT.1886
TO_BT709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)


def kind_of(frame: Any) -> str | None:
    """What is to be said of a decoded frame: "PQ", "HLG" or "BT.2020"; None of ordinary video."""
    wide = "BT.2020" if frame.color_primaries == BT2020 else None
    return {PQ: "PQ", HLG: "HLG"}.get(frame.color_trc, wide)


def to_sdr(frame: Any) -> np.ndarray:
    """A decoded frame as uint8 RGB (H, W, 3) for an ordinary screen."""
    signal = frame.reformat(format="rgb48le", src_colorspace=frame.colorspace).to_ndarray()
    return tone_map(signal, kind_of(frame) or "BT.2020", frame.color_primaries == BT2020)


def tone_map(signal: np.ndarray, kind: str, wide: bool = True) -> np.ndarray:
    """Convert RGB signals, uint16 (..., 3), to uint8 of BT.709; `wide` tells that their primaries are BT.2020's."""
    light = _light(kind)[signal]
    if kind == "HLG":  # the gamma of a screen of 1000 nits, on luminance
        luminance = light @ np.array([0.2627, 0.678, 0.0593], np.float32)
        light *= (1000 / WHITE) * luminance[..., None] ** 0.2
    if wide:
        light = np.maximum(light @ TO_BT709.T, 0)
    if kind != "BT.2020":
        peak = np.maximum(light.max(-1, keepdims=True), 1e-6)  # one factor for all channels keeps the hue
        light *= np.where(peak > KNEE, KNEE + (1 - KNEE) * (1 - np.exp((KNEE - peak) / (1 - KNEE))), peak) / peak
    return np.rint(255 * np.clip(light, 0, 1) ** (1 / GAMMA)).astype(np.uint8)


@cache
def _light(kind: str) -> np.ndarray:
    """Linear light of every 16-bit signal, float32 (65536,): 1 is white, and for HLG the brightest of the scene."""
    signal = np.linspace(0, 1, 65536)
    if kind == "PQ":  # SMPTE ST 2084
        root = signal ** (32 / 2523)
        light = 10000 / WHITE * (np.maximum(root - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * root)) ** (8192 / 1305)
    elif kind == "HLG":  # ARIB STD-B67
        light = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    else:
        light = signal**GAMMA
    return light.astype(np.float32)
