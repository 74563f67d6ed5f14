"""The ablations' variants and their table."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")
from benchmarks.training.ablations import quality, table, variants
from kilonerf.kernels import RenderOptions, create_renderer
from kilonerf.trainer.settings import PRESETS
from support.scenes import random_scene, views


def test_each_variant_differs_in_what_it_names() -> None:
    base = PRESETS["tiny"]
    all_variants = variants(base)
    assert all_variants.pop("all as it is") == ("", base)
    for name, (switch, settings) in all_variants.items():
        settings.check()
        words = switch.split()
        for option, value in zip(words[::2], words[1::2], strict=True):
            found: object = settings
            for part in option.removeprefix("--").replace("-", "_").split("."):
                found = getattr(found, part)
            assert float(found) == float(value), name  # pyright: ignore[reportArgumentType]
        changed = [
            field.name
            for field in dataclasses.fields(base)
            if getattr(base, field.name) != getattr(settings, field.name)
        ]
        assert len(changed) == 1, name


def test_fog_is_what_shows_where_the_photo_has_nothing() -> None:
    scene = random_scene(seed=8)
    camera = views(scene)["outside"]
    frame = create_renderer(scene, "cpu").render(camera, RenderOptions.as_trained(scene))
    alpha = np.zeros((*frame.alpha.shape, 1))
    alpha[: len(alpha) // 2] = 1.0
    found = quality(scene, [(camera, np.concatenate([frame.rgb, alpha], axis=-1))])
    assert found.fog == pytest.approx(frame.alpha[len(alpha) // 2 :].mean(), abs=1e-3)
    assert found.fog > 0.05
    assert found.evaluations == frame.statistics.samples


def test_the_table_has_a_row_for_each_variant_and_nerf() -> None:
    rows = [
        {"variant": "half units", "switch": "--units 16", "networks": 5, "psnr": 30.123, "fog": 1e-4,
         "evaluations": 1e5, "ms": 12.34, "minutes": 1.0}
    ]  # fmt: skip
    lines = table({"variants": rows, "nerf_with_ess_and_ert_ms": 9876.0})
    assert lines[2] == "| half units | `--units 16` | 5 | 30.12 dB | 1.00e-04 | 100 k | 12.3 ms |"
    assert lines[3] == "| NeRF (8x256) with ESS and ERT | | 1 | | | 100 k | 9876 ms (computed) |"
