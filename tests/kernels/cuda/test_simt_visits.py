"""What a tile looks at before it evaluates anything: nothing where nothing is, few of many cells."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilonerf.kernels import RenderOptions
from kilonerf.kernels.cuda.groups import MAX_GROUPS, TILE, Groups, seen_tiles
from kilonerf.kernels.cuda.renderer import CudaRenderer
from kilonerf.kernels.native.grid import native_cells
from kilonerf.kernels.reference.renderer import ReferenceRenderer
from kilonerf.kernels.sampling import ray_directions
from kilonerf.model_io import Camera, Scene, load_kilonerf_scene
from simt.compilation import why_unavailable
from simt.simt_device import SimtDevice
from support.scenes import nested_scene, random_scene, views

simt = pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))


def tiles_of(camera: Camera) -> int:
    return -(-camera.width // TILE) * -(-camera.height // TILE)


@pytest.mark.slow
@simt
def test_simt_empty_tiles_look_at_nothing(toy_scene: Scene) -> None:
    camera = replace(views(toy_scene)["outside"].resized(150, 90), fx=60.0, fy=60.0)
    renderer = CudaRenderer(toy_scene, SimtDevice(80), counting=True)
    frame = renderer.render(camera, RenderOptions())
    counts = renderer.counts
    hit = {(x // TILE, y // TILE) for y, x in np.argwhere(frame.alpha > 0)}
    assert 2 < len(hit) <= counts["tiles"] <= 4 * len(hit) < tiles_of(camera)
    assert counts["groups"] == counts["tiles"]  # one group: the grid is small
    away = views(toy_scene)["away"]
    renderer.render(away, RenderOptions())
    assert not any(renderer.counts.values())


@pytest.mark.slow
@simt
@pytest.mark.parametrize("architecture", [80, pytest.param(70, marks=pytest.mark.slow)])
def test_simt_of_thousands_of_cells_a_tile_looks_at_few(architecture: int) -> None:
    scene = random_scene((16, 16, 16), (2, 2, 2), dropped=0.0, seed=8)
    camera = views(scene)["outside"].resized(50, 40)
    renderer = CudaRenderer(scene, SimtDevice(architecture), counting=True)
    renderer.render(camera, RenderOptions(step=0.3, ert=False))
    assert 0 < renderer.counts["cells"] < 0.3 * renderer.counts["tiles"] * scene.num_networks
    assert renderer.counts["groups"] == 64 * renderer.counts["tiles"]


@simt
@pytest.mark.parametrize("architecture", [80, pytest.param(70, marks=pytest.mark.slow)])
def test_simt_counts_fit_together(toy_scene: Scene, architecture: int) -> None:
    camera = views(toy_scene)["outside"].resized(70, 50)
    renderer = CudaRenderer(toy_scene, SimtDevice(architecture), counting=True)
    frame = renderer.render(camera, RenderOptions())
    plain = CudaRenderer(toy_scene, SimtDevice(architecture)).render(camera, RenderOptions())
    counts, evaluations = renderer.counts, frame.statistics.evaluations
    assert np.array_equal(frame.rgb, plain.rgb)
    assert frame.statistics.samples == plain.statistics.samples
    assert counts["tiles"] <= counts["visits"] <= counts["votes"] <= counts["cells"]
    assert counts["rounds"] >= 1.5 * counts["visits"]
    assert evaluations / 16 <= counts["batches"] < evaluations / 16 + counts["rounds"]
    assert counts["batches"] / 8 <= counts["passes"] < counts["batches"] / 8 + counts["rounds"]
    assert not CudaRenderer(toy_scene, SimtDevice(architecture)).counts


@simt
@pytest.mark.parametrize("architecture", [80, pytest.param(70, marks=pytest.mark.slow)])
def test_simt_a_visit_takes_hardly_more_than_a_vote(chair_path, architecture: int) -> None:
    """Boxes are looked at eight at a time; a vote for each would be half as many again."""
    scene = load_kilonerf_scene(chair_path)
    assert scene.start_camera is not None
    renderer = CudaRenderer(scene, SimtDevice(architecture), counting=True)
    renderer.render(scene.start_camera.resized(160, 160), RenderOptions.as_trained(scene))
    counts = renderer.counts
    assert counts["visits"] <= counts["votes"] <= counts["visits"] + 1.2 * counts["tiles"]


@simt
@pytest.mark.parametrize("architecture", [80, pytest.param(70, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("factor", "near"), [((16, 16, 16), True), ((3, 5, 7), True), ((20, 17, 18), False)])
def test_simt_voxels_of_a_cell_lie_in_shared_memory_if_they_fit(factor: tuple, near: bool, architecture: int) -> None:
    scene = random_scene((2, 1, 2), factor, seed=11, occupied=0.2)
    camera = views(scene)["outside"].resized(50, 40)
    renderer = CudaRenderer(scene, SimtDevice(architecture), counting=True)
    options = RenderOptions(ert=False)
    samples = renderer.render(camera, options).statistics.samples
    assert samples == ReferenceRenderer(scene).render(camera, options).statistics.samples > 0
    assert renderer.counts["lookups"] >= samples
    assert renderer.counts["far"] == (0 if near else renderer.counts["lookups"])


@pytest.mark.slow
@simt
@pytest.mark.parametrize("architecture", [80, pytest.param(70, marks=pytest.mark.slow)])
def test_simt_four_samples_a_round_are_fewer_rounds_of_the_same_picture(toy_scene: Scene, architecture: int) -> None:
    camera = views(toy_scene)["outside"].resized(50, 40)
    two, four = (CudaRenderer(toy_scene, SimtDevice(architecture), counting=True, per_ray=n) for n in (2, 4))
    pictures = [renderer.render(camera, RenderOptions()) for renderer in (two, four)]
    assert np.array_equal(pictures[0].rgb, pictures[1].rgb)
    assert four.counts["rounds"] < 0.8 * two.counts["rounds"]
    assert pictures[0].statistics.evaluations <= pictures[1].statistics.evaluations


numbers = st.floats(-3, 3)


@given(st.tuples(numbers, numbers, numbers), st.tuples(numbers, numbers, numbers), st.floats(0.1, 3), st.floats(5, 300))
def test_no_ray_of_another_tile_meets_the_box(eye: tuple, target: tuple, size: float, focal: float) -> None:
    if np.linalg.norm(np.subtract(eye, target)) < 0.1 or np.allclose(eye[:2], target[:2]):
        return
    look = Camera.look_at(eye, target, 75, 53)
    camera = Camera.from_matrix(look.matrix, 75, 53, fx=focal, fy=0.8 * focal, cx=30.0, cy=31.0)
    box = np.array([[-0.3, -0.2, -0.5], [0.3 * size, 0.2, 0.4 * size]])
    x0, y0, x1, y1 = seen_tiles(camera, *box.tolist())
    assert 0 <= x0 <= x1 <= 5
    assert 0 <= y0 <= y1 <= 4
    directions = ray_directions(camera).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = ((side - np.asarray(eye)) / directions for side in box)
    enter, leave = np.fmin(low, high).max(-1), np.fmax(low, high).min(-1)
    for y, x in np.argwhere((enter <= leave) & (leave > 0)):
        assert x0 <= x // TILE < x1
        assert y0 <= y // TILE < y1


@pytest.mark.parametrize("ess", [True, False])
@pytest.mark.parametrize("scene", [random_scene((33, 9, 40), (2, 2, 2)), nested_scene(), random_scene(occupied=0.0)])
def test_a_leaf_lies_within_its_group(scene: Scene, ess: bool) -> None:
    leaves = native_cells(*scene.levels, ess=ess)
    groups = Groups.of(scene.levels, leaves, ess=ess)
    counts = leaves["occupied"] != 0 if ess else np.ones(len(leaves), bool)
    assert len(groups.boxes) <= MAX_GROUPS
    boxes = groups.boxes[groups.of_leaf[counts]]
    assert (boxes[:, 0] <= leaves["clip_min"][counts]).all()
    assert (boxes[:, 1] >= leaves["clip_max"][counts]).all()
    assert (groups.box[0] <= groups.box[1]).all() == counts.any()


def test_no_tile_sees_a_box_that_is_not_there() -> None:
    camera = Camera.look_at((0, 0, 3), (0, 0, 0.1), 64, 64)
    assert seen_tiles(camera, [np.inf] * 3, [-np.inf] * 3) == (0, 0, 0, 0)
