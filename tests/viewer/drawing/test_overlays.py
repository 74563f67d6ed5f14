from dataclasses import replace

import numpy as np
import pytest

from kilonerf.model_io import Camera
from kilonerf.model_io.scene.box import Box
from kilonerf.viewer.drawing import overlays as overlays_module
from kilonerf.viewer.drawing.overlays import OverlayOptions, Overlays
from kilonerf.viewer.drawing.picture import Picture
from kilonerf.viewer.drawing.projection import clip_planes
from support.opengl import Screen, flat_frame
from support.scenes import nested_scene, random_scene

BOX = OverlayOptions(box=True, opacity=1.0)
GRIDS = OverlayOptions(network_grid=True, occupancy_grid=True, opacity=1.0)
BACKGROUND = np.array([51, 51, 51])


@pytest.fixture
def overlays(ctx):
    overlays = Overlays(ctx)
    yield overlays
    overlays.release()
    assert ctx.error == "GL_NO_ERROR"


def straight_camera(scene, width=201, height=151):
    """Looks along -z at the middle of the box's top face from 3 above it."""
    middle = 0.5 * (scene.box_min + scene.box_max)
    eye = (*middle[:2], scene.box_max[2] + 3.0)
    return Camera.look_at(eye, middle, width, height, up=(0.0, 1.0, 0.0))


def drawn(ctx, overlays, camera, options, *, depth=np.inf, size=None):
    """Pixels [H, W] that differ from the picture under the lines: a grey plane at one z-depth."""
    scene = overlays._scene
    box = Box(np.zeros(3, np.float32), np.ones(3, np.float32)) if scene is None else scene.levels[-1].box
    planes = clip_planes(camera, box.min, box.max)
    screen = Screen(ctx, *(size or (camera.width, camera.height)))
    picture = Picture(ctx)
    picture.upload(flat_frame(camera.width, camera.height, depth=depth, color=(0.2, 0.2, 0.2)))
    picture.draw(planes)
    overlays.prepare(options)
    before = screen.depth().copy()
    overlays.draw(camera, planes, options)
    assert np.array_equal(screen.depth(), before)  # lines hide nothing
    picture.release()
    return np.abs(screen.rgb().astype(int) - BACKGROUND).max(axis=2)


def pixel_of(camera, world):
    x, y, z = camera.matrix[:3, :3].T @ (np.asarray(world, np.float64) - camera.position)
    return int(camera.cx + camera.fx * x / -z), int(camera.cy - camera.fy * y / -z)


def test_a_line_in_front_of_the_picture_is_seen_and_one_behind_is_hidden(ctx, overlays):
    scene = random_scene()
    overlays.set_scene(scene)
    camera = straight_camera(scene)
    near_edge = pixel_of(camera, (scene.box_min[0], 0.0, scene.box_max[2]))
    far_edge = pixel_of(camera, (scene.box_min[0], 0.0, scene.box_min[2]))
    assert abs(near_edge[0] - far_edge[0]) > 10
    between = drawn(ctx, overlays, camera, BOX, depth=4.0)
    assert between[near_edge[1], near_edge[0] - 1 : near_edge[0] + 2].max() > 100
    hidden = between[far_edge[1], far_edge[0] - 1 : far_edge[0] + 2].max()
    free = drawn(ctx, overlays, camera, BOX)[far_edge[1], far_edge[0] - 1 : far_edge[0] + 2].max()
    assert free > 100
    assert hidden < 0.4 * free  # the box stays faintly visible, so that one sees where it ends
    assert drawn(ctx, overlays, camera, replace(GRIDS, box=False), depth=0.5).max() == 0


def test_lines_on_a_surface_do_not_fight_with_it(ctx, overlays):
    scene = random_scene()
    overlays.set_scene(scene)
    camera = straight_camera(scene)
    on_top_face = drawn(ctx, overlays, camera, BOX, depth=3.0 * (1.0 - 5e-4))
    in_front = drawn(ctx, overlays, camera, BOX, depth=3.1)
    column, row = pixel_of(camera, (scene.box_min[0], 0.0, scene.box_max[2]))
    edge = np.s_[row - 20 : row + 20, column - 1 : column + 2]
    assert on_top_face[edge].max(axis=1).min() > 100
    assert np.array_equal(on_top_face[edge], in_front[edge])


@pytest.mark.parametrize("kind", ["box", "network_grid", "occupancy_grid"])
def test_each_switch_draws_in_its_own_colour(ctx, overlays, kind):
    scene = random_scene()
    overlays.set_scene(scene)
    camera = straight_camera(scene)
    assert drawn(ctx, overlays, camera, OverlayOptions()).max() == 0
    assert (drawn(ctx, overlays, camera, OverlayOptions(**{kind: True})) > 40).sum() > 50
    assert drawn(ctx, overlays, camera, OverlayOptions(**{kind: True}, opacity=0.0)).max() == 0


def test_only_cells_with_a_network_are_in_the_network_grid(ctx, overlays):
    scene = random_scene(dropped=0.0)
    one = np.full_like(scene.network_index, -1)
    one[0, 1, -1] = 0  # the middle one of three in y: its near face is its outline
    layers = {name: array[:1] for name, array in scene.layers.items()}
    overlays.set_scene(replace(scene, network_index=one, layers=layers, occupancy=np.zeros_like(scene.occupancy)))
    camera = straight_camera(scene)
    rows, columns = np.nonzero(drawn(ctx, overlays, camera, OverlayOptions(network_grid=True)))
    right, top = pixel_of(camera, scene.box_min + scene.cell_size * (1, 2, scene.resolution[2]))
    left, bottom = pixel_of(camera, scene.box_min + scene.cell_size * (0, 1, scene.resolution[2]))
    assert (columns.min(), columns.max()) == pytest.approx((left, right), abs=2)
    assert (rows.min(), rows.max()) == pytest.approx((top, bottom), abs=2)


def test_a_coarser_occupancy_grid_ends_at_the_box(ctx, overlays):
    scene = random_scene(occupied=1.0, dropped=0.0)  # 8 x 12 x 16 voxels: 2**3 does not divide 12
    overlays.set_scene(scene)
    camera = straight_camera(scene)
    box = drawn(ctx, overlays, camera, BOX)
    for level in (1, 3, 9):
        grid = drawn(ctx, overlays, camera, OverlayOptions(occupancy_grid=True, occupancy_level=level, opacity=1.0))
        for axis in (0, 1):
            outer = [np.flatnonzero((image > 20).any(axis=axis))[[0, -1]] for image in (box, grid)]
            assert np.abs(outer[0] - outer[1]).max() <= 2


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_lines_that_begin_or_end_behind_the_camera(ctx, overlays, side):
    scene = random_scene()
    overlays.set_scene(scene)
    middle = 0.5 * (scene.box_min + scene.box_max)
    camera = Camera.look_at(middle, middle + np.array([side, 0.0, 0.0]), 401, 401, fov_y=2.5)
    box = drawn(ctx, overlays, camera, BOX)
    end = scene.box_max[0] if side > 0 else scene.box_min[0]
    for share in (0.7, 0.8, 0.95):
        x = middle[0] + share * (end - middle[0])
        column, row = pixel_of(camera, (x, scene.box_min[1], scene.box_min[2]))
        assert box[row - 1 : row + 2, column - 1 : column + 2].max() > 100


def test_the_view_does_not_change_with_the_size_of_the_shown_frame(ctx, overlays):
    scene = random_scene()
    overlays.set_scene(scene)
    camera = Camera.look_at((3.0, 2.0, 1.5), (0.0, 0.0, 0.0), 200, 150)
    full = drawn(ctx, overlays, camera, BOX)
    reduced = drawn(ctx, overlays, camera.resized(100, 75), BOX, size=(200, 150))
    assert np.abs(full - reduced).max() <= 3


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (63, 2)])
def test_odd_sizes(ctx, overlays, size):
    scene = random_scene()
    overlays.set_scene(scene)
    drawn(ctx, overlays, Camera.look_at((3.0, 2.0, 1.5), (0.0, 0.0, 0.0), *size), replace(GRIDS, box=True))


def test_no_scene_and_an_empty_scene(ctx, overlays):
    camera = straight_camera(random_scene())
    assert drawn(ctx, overlays, camera, GRIDS).max() == 0
    scene = random_scene(dropped=1.0)
    overlays.set_scene(scene)
    assert drawn(ctx, overlays, camera, GRIDS).max() == 0
    assert drawn(ctx, overlays, camera, BOX).max() > 100
    overlays.set_scene(None)
    assert drawn(ctx, overlays, camera, replace(GRIDS, box=True)).max() == 0


def test_lines_are_made_beside_the_interface_and_then_appear(ctx, overlays):
    scene = random_scene()
    overlays.set_scene(scene)
    camera = straight_camera(scene)
    planes = clip_planes(camera, scene.box_min, scene.box_max)
    screen = Screen(ctx, camera.width, camera.height)
    overlays.draw(camera, planes, OverlayOptions())
    assert not overlays.busy
    overlays.draw(camera, planes, GRIDS)
    overlays.prepare(GRIDS)
    assert not overlays.busy
    overlays.draw(camera, planes, GRIDS)
    assert screen.rgb().min() < 200


def test_a_giant_grid_falls_back_to_a_coarser_level(ctx, overlays, monkeypatch):
    scene = random_scene()
    camera = straight_camera(scene)
    overlays.set_scene(scene)
    coarse = drawn(ctx, overlays, camera, OverlayOptions(occupancy_grid=True, occupancy_level=2))
    lines_at_level_2 = overlays._ready["occupancy", 2, 0].count
    overlays.set_scene(None)
    overlays.set_scene(scene)
    monkeypatch.setattr(overlays_module, "MAX_LINES", lines_at_level_2)
    assert np.array_equal(drawn(ctx, overlays, camera, OverlayOptions(occupancy_grid=True)), coarse)


def test_depth_writing_is_on_again_afterwards(ctx, overlays):
    scene = random_scene()
    overlays.set_scene(scene)
    camera = straight_camera(scene)
    drawn(ctx, overlays, camera, BOX)
    screen = Screen(ctx, 4, 4)
    picture = Picture(ctx)
    planes = clip_planes(camera, scene.box_min, scene.box_max)
    picture.upload(flat_frame(4, 4, depth=0.01))
    overlays.draw(camera, planes, BOX)
    picture.draw(planes)
    assert np.all(screen.depth() == 0.0)
    picture.release()


def test_the_boxes_of_nested_levels_are_drawn(ctx, overlays):
    scene = nested_scene()
    middle = 0.5 * (scene.box_min + scene.box_max)
    camera = Camera.look_at((*middle[:2], middle[2] + 40.0), middle, 201, 151, up=(0.0, 1.0, 0.0))
    sizes = []
    for shown in (scene, replace(scene, outer=())):
        overlays.set_scene(shown)
        columns = np.flatnonzero((drawn(ctx, overlays, camera, BOX) > 20).any(axis=0))
        sizes.append(float(np.ptp(columns)))
    assert sizes[0] == pytest.approx(4 * sizes[1], rel=0.3)
