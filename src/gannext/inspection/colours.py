"""Anomaly maps in colour. A colour means the same value in every image: nothing is stretched to an image's own range."""

import numpy as np
from numpy.typing import NDArray

from gannext.runtime import Pixels

# Anchors of matplotlib's "inferno": dark to bright, also for who sees no colours.
ANCHORS = ("000004", "1b0c41", "4a0c6b", "781c6d", "a52c60", "cf4446", "ed6925", "fb9b06", "f7d13d", "fcffa4")
OUTLINE = (0, 229, 255)
VEIL = 0.65  # how much of the picture the hottest colour covers
ROWS = 512  # of a picture that are coloured at once


def palette() -> Pixels:
    """256 colours (256, 3)."""
    anchors = np.array([[int(a[i : i + 2], 16) for i in (0, 2, 4)] for a in ANCHORS])
    places = np.linspace(0, len(anchors) - 1, 256)
    return np.stack([np.interp(places, range(len(anchors)), anchors[:, c]) for c in range(3)], axis=-1).round().astype(np.uint8)


PALETTE = palette()


def heat(anomaly_map: NDArray[np.float32], threshold: float) -> NDArray[np.float32]:
    """Values v (H, W) as warmth v^2 / (v^2 + threshold^2): 0.5 at the threshold, and below 1 however large the value."""
    relative = np.square(np.minimum(anomaly_map / np.float32(max(threshold, 1e-12)), np.float32(1e6)))
    return np.asarray(relative / (relative + 1), dtype=np.float32)


def heat_map(anomaly_map: NDArray[np.float32], threshold: float) -> Pixels:
    """The map alone in colour, bytes (H, W, 3)."""
    return PALETTE[(heat(anomaly_map, threshold) * 255).astype(np.uint8)]


def overlay(pixels: Pixels, anomaly_map: NDArray[np.float32], threshold: float) -> Pixels:
    """The picture under its heat map, with what lies above the threshold outlined.

    Args:
        pixels: bytes (H, W, 1 or 3).
        anomaly_map: floats (H, W).
        threshold: pixels above it are abnormal.

    Returns:
        Bytes (H, W, 3). What is normal stays as it is: the veil starts at 0.6 of the threshold.
    """
    height, width = anomaly_map.shape
    out = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, ROWS):
        part = slice(top, min(top + ROWS, height))
        warmth = heat(anomaly_map[part], threshold)
        veil = (np.clip((warmth - 0.25) / 0.5, 0, 1) * np.float32(VEIL))[..., None]
        colours = PALETTE[(warmth * 255).astype(np.uint8)]
        out[part] = pixels[part] * (1 - veil) + colours * veil
    out[outline(anomaly_map > threshold)] = OUTLINE
    return out


def outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The border of a mask (H, W): a line just outside of it, as thick as the picture's size asks for."""
    grown = mask.copy()
    for _ in range(max(1, round(min(mask.shape) / 300))):  # each time by the four neighbours
        before = grown.copy()
        grown[1:] |= before[:-1]
        grown[:-1] |= before[1:]
        grown[:, 1:] |= before[:, :-1]
        grown[:, :-1] |= before[:, 1:]
    return grown & ~mask
