"""Makes viewer/welcome/chair.knf, the scene of a viewer that was given none, from assets/chair.knf.

It has to be small in a wheel, and weights do not compress. So they are rounded to 3 bits of mantissa: the file keeps
its size, and a third of its bytes become zeros, or nearly so, for the zip file that a wheel is. No poses are kept.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import load_kilonerf_scene, save_scene

ROOT = Path(__file__).resolve().parents[1]
KEPT_BITS = 3  # of 10
"""Six views then differ from those of the original by 49 dB (47 dB at least); the original has 32.5 dB."""


def rounded(weights: NDArray[np.float16], bits: int) -> NDArray[np.float16]:
    """To the nearest float16 whose mantissa has only so many bits."""
    dropped = 10 - bits
    raw = np.ascontiguousarray(weights).view(np.uint16).astype(np.uint32)
    raw = (raw + (1 << (dropped - 1))) >> dropped << dropped
    return raw.astype(np.uint16).view(np.float16).reshape(weights.shape)


def main() -> None:
    """Write it."""
    scene = load_kilonerf_scene(ROOT / "assets" / "chair.knf")
    layers = {name: rounded(np.asarray(layer, np.float16), KEPT_BITS) for name, layer in scene.layers.items()}
    provenance = {**scene.provenance, "rounded_to_mantissa_bits": KEPT_BITS}
    target = ROOT / "viewer" / "welcome" / "chair.knf"
    target.parent.mkdir(exist_ok=True)
    save_scene(replace(scene, layers=layers, training_poses=None, provenance=provenance), target)


if __name__ == "__main__":
    main()
