"""The view cube, cameras of photos, the ground: geometry without a window; lines with OpenGL."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from kilonerf.model_io import Camera
from kilonerf.viewer.camera.controllers import heading_axes
from kilonerf.viewer.drawing.guides import Guides
from kilonerf.viewer.drawing.projection import ClipPlanes
from kilonerf.viewer.orientation.camera_markers import projected
from kilonerf.viewer.orientation.ground import cell_size, ground_lines, lowest_height
from kilonerf.viewer.orientation.orientation import data_folder
from kilonerf.viewer.orientation.photo_cameras import PhotoCameras, cameras_of_scene, frusta, frustum_corners
from kilonerf.viewer.orientation.view_cube import visible_faces
from kilonerf.viewer.rectangle import Rectangle
from kilonerf.viewer.window import read_framebuffer
from support.photo_sets import ellipsoid_photo, ring, write_blender


@pytest.mark.parametrize(("yaw", "pitch", "name"), [(0.0, 0.0, "X"), (np.pi / 2, 0.0, "Y"), (0.3, np.pi / 2, "Top")])
def test_the_face_towards_the_viewer_is_in_the_middle(yaw, pitch, name):
    faces = visible_faces(heading_axes(yaw, pitch))
    assert [face.name for face in faces if face.contains(0.0, 0.0)] == [name]
    assert faces[-1].name == name


def test_up_is_up_on_the_cube():
    faces = {face.name: face for face in visible_faces(heading_axes(0.4, 0.5))}
    assert set(faces) == {"X", "Y", "Top"}
    assert faces["Top"].corners[:, 1].mean() < faces["X"].corners[:, 1].mean()  # y downwards
    assert np.abs(np.concatenate([face.corners for face in faces.values()])).max() < 0.5


def test_a_frustum_projects_onto_the_picture_of_its_camera():
    camera = Camera.look_at((3, 1, 2), (0, 0, 0), 80, 60)
    places, z = projected(camera, Rectangle(10, 20, 160, 120), frustum_corners(camera, 0.7))
    np.testing.assert_allclose(places, [(10, 20), (170, 20), (170, 140), (10, 140)], atol=1e-9)
    np.testing.assert_allclose(z, 0.7)


def test_cameras_of_a_data_set_are_read_in_the_background(tmp_path, toy_scene):
    def wait(done):
        for _ in range(2000):
            if done():
                return
            time.sleep(0.005)
        raise AssertionError("never read")

    cameras = ring(5)
    write_blender(tmp_path, cameras, lambda camera: ellipsoid_photo(camera, np.zeros(3), np.array([0.5, 0.5, 0.5])))
    woken = []
    photos = PhotoCameras(lambda: woken.append(1))
    photos.set_scene(toy_scene)
    photos.open(tmp_path)
    found = []
    wait(lambda: found.append(photos.poll()) or found[-1][0])
    assert photos.folder == tmp_path
    assert photos.reading is None
    np.testing.assert_allclose([one.camera.matrix for one in photos.all], [camera.matrix for camera in cameras])
    wait(lambda: photos.photo(2) is not None)
    picture = photos.photo(2)
    assert picture is not None
    assert picture.shape == (90, 120, 3)
    np.testing.assert_array_equal(picture[0, 0], 255)  # white where the photo is transparent
    assert picture[45, 60, 0] > 2 * picture[45, 60, 1]
    photos.open(tmp_path / "nowhere")
    wait(lambda: found.append(photos.poll()) or found[-1][1])
    assert "nowhere" in found[-1][1]
    assert len(photos.all) == 5  # those that are there stay


def test_a_scene_knows_its_poses_and_may_know_its_data(toy_scene, tmp_path):
    poses = np.stack([camera.matrix for camera in ring(3)]).astype(np.float32)
    scene = replace(toy_scene, training_poses=poses, provenance={"source": "photos"})
    cameras = cameras_of_scene(scene)
    np.testing.assert_array_equal([one.camera.matrix for one in cameras], poses)
    assert frusta(cameras, 1.0).shape == (30, 2, 3)
    assert frusta([], 1.0).shape == (0, 2, 3)
    assert data_folder(scene, tmp_path / "scene.knf") is None
    (tmp_path / "photos").mkdir()
    assert data_folder(scene, tmp_path / "scene.knf") == tmp_path / "photos"
    assert data_folder(toy_scene, tmp_path / "scene.knf") is None


def test_the_ground_is_flat_around_the_middle_and_below_the_scene(toy_scene):
    turn = heading_axes(0.3, 0.2)  # any rotation
    lines, colors = ground_lines(turn, -1.25, np.array([1.0, 2.0, 3.0]), 2.0)
    np.testing.assert_allclose(lines.astype(np.float64) @ turn[:, 2], -1.25, atol=1e-5)
    assert len(lines) == len(colors)
    middle = lines.reshape(-1, 3).mean(axis=0) @ turn
    np.testing.assert_allclose(middle[:2], (np.array([1.0, 2.0, 3.0]) @ turn)[:2], atol=cell_size(2.0))
    z = (
        toy_scene.box.min[2]
        + (np.argwhere(toy_scene.occupancy)[:, 2]) * toy_scene.box.size[2] / (toy_scene.occupancy.shape[2])
    )
    ground = lowest_height(toy_scene, np.array([0.0, 0.0, 1.0]))
    assert np.mean(z < ground - 1e-6) <= 0.02
    assert ground >= z.min() - 1e-6


@pytest.mark.parametrize("radius", [0.003, 1.0, 77.0])
def test_cells_of_the_ground_are_round_numbers(radius):
    mantissa = float(f"{cell_size(radius):e}".partition("e")[0])
    assert round(mantissa, 9) in (1.0, 2.0, 5.0)


def test_lines_are_hidden_by_what_is_in_front_and_not_cut_by_the_planes(ctx):
    camera = Camera.look_at((0, 0, 5), (0, 0, 0), 64, 64, up=(0, 1, 0))
    target = ctx.framebuffer([ctx.texture((64, 64), 4)], ctx.depth_renderbuffer((64, 64)))
    guides = Guides(ctx)
    planes = ClipPlanes(4.0, 6.0)
    seen = {}
    for name, z in (("nearer than the planes", 3.0), ("between", 0.0), ("beyond", -30.0)):
        for depth in (1.0, 0.0):  # nothing in front; something very near
            guides.set_lines("one", [[(-1, 0, z), (1, 0, z)]], (1, 1, 1, 1))
            target.use()
            target.clear(0, 0, 0, 1, depth=depth)
            guides.draw(camera, planes)
            seen[name, depth] = int(read_framebuffer(target)[31:33, 31:33].max())
    assert all(seen[name, 1.0] > 150 for name, _ in seen)
    assert seen["between", 0.0] < 60
    assert seen["beyond", 0.0] < 60
    guides.set_lines("one", (), ())
    target.clear(0, 0, 0, 1, depth=1.0)
    guides.draw(camera, planes)
    assert read_framebuffer(target).max() == 0
    guides.release()


def test_cameras_of_a_data_set_stand_where_the_scene_of_a_far_away_frame_has_them(toy_scene, tmp_path):
    origin = (100.0, -20.0, 5.0)
    scene = replace(toy_scene, provenance={"coordinates": {"origin": list(origin)}})
    far = [camera.moved(camera.matrix + np.pad(np.reshape(origin, (3, 1)), ((0, 1), (3, 0)))) for camera in ring(3)]
    write_blender(tmp_path, far, lambda camera: ellipsoid_photo(camera, np.array(origin), np.array([0.5, 0.5, 0.5])))
    done = threading.Event()
    photos = PhotoCameras(done.set)
    photos.set_scene(scene)
    photos.open(tmp_path)
    assert done.wait(20.0)
    assert photos.poll() == (True, "")
    for one, near in zip(photos.all, ring(3), strict=True):
        np.testing.assert_allclose(one.camera.position, near.position, atol=1e-5)
