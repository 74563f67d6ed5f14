"""360-degree pictures and depth files."""

from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from kilonerf.kernels import CancelToken, RenderOptions, create_renderer
from kilonerf.model_io import Camera, CameraPath, OutputError
from kilonerf.viewer.recording import render_job
from kilonerf.viewer.recording.depth_files import DepthMaker, DepthSequence, check_depth_output, fitting_unit
from kilonerf.viewer.recording.film import Film, path_exposures
from kilonerf.viewer.recording.frame_rate import exact_rate
from kilonerf.viewer.recording.panorama import PanoramaMaker, face_cameras
from kilonerf.viewer.recording.picture_files import write_png
from kilonerf.viewer.recording.render_job import RenderJob
from kilonerf.viewer.recording.spherical import UUID, mark_spherical
from kilonerf.viewer.recording.video import VideoWriter
from kilonerf.viewer.rendering.accumulation import LinearMean, to_bytes

INSIDE = Camera.look_at((0.05, -0.1, 0.02), (1.0, 0.5, -0.4), 256, 128)


class Sky:
    """A renderer of a world whose colour is the direction in which one looks."""

    device = fallback = ""

    def render(self, camera, options, cancel=None):
        rows, columns = np.mgrid[0 : camera.height, 0 : camera.width] + 0.5
        x, y = (columns - camera.cx) / camera.fx, -(rows - camera.cy) / camera.fy
        directions = np.stack([x, y, -np.ones_like(x)], axis=-1) @ camera.matrix[:3, :3].T
        directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
        return SimpleNamespace(rgb=(0.5 + 0.5 * directions).astype(np.float32))


def test_a_panorama_shows_every_direction_where_it_belongs():
    renderer: Any = Sky()
    picture = PanoramaMaker(RenderOptions()).values(renderer, INSIDE, CancelToken())
    assert picture.shape == (128, 256, 3)
    forward = -INSIDE.matrix[:3, 2] * np.array([1.0, 1.0, 0.0])
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    lon = (np.arange(256) + 0.5) / 256 * 2 * np.pi - np.pi
    lat = (0.5 * np.pi - (np.arange(128) + 0.5) / 128 * np.pi)[:, None, None]
    level = np.sin(lon)[:, None] * right + np.cos(lon)[:, None] * forward
    expected = np.cos(lat) * level + np.sin(lat) * np.array([0.0, 0.0, 1.0])
    assert np.abs(picture - (0.5 + 0.5 * expected)).max() < 0.002


def test_a_panorama_with_motion_blur_is_the_mean_of_pictures_that_were_not_rounded(tmp_path, monkeypatch):
    """Rounded to 8 bits first, a mean would be off by one in many places."""
    monkeypatch.setattr(render_job, "create_renderer", lambda scene, backend: Sky())
    beside = Camera.look_at((0.05, -0.1, 0.02), (1.0, 0.6, -0.4), 256, 128)
    path, film = CameraPath.from_cameras([0.0, 1.0], [INSIDE, beside]), Film(4, 360.0)
    scene: Any = None
    maker = PanoramaMaker(RenderOptions())
    job = RenderJob(
        scene,
        path,
        RenderOptions(),
        tmp_path / "p_%d.png",
        64,
        32,
        2,
        make_picture=maker.values,
        film=film,
        panorama=True,
    )
    job.start()
    assert job.wait(60.0)
    assert job.error is None
    renderer: Any = Sky()
    rounded_first = 0
    for number, cameras in enumerate(path_exposures(path, 64, 32, exact_rate(2), film)):
        pictures = [maker.values(renderer, camera, CancelToken()) for camera in cameras]
        wanted, coarse = LinearMean(), LinearMean()
        for picture in pictures:
            wanted.add(picture)
            coarse.add(to_bytes(picture))
        with Image.open(tmp_path / f"p_{number}.png") as image:
            np.testing.assert_array_equal(np.asarray(image), wanted.picture())
        rounded_first += int((coarse.picture() != wanted.picture()).sum())
    assert rounded_first > 100


def test_six_faces_look_in_six_directions():
    faces = face_cameras(INSIDE)
    assert len(faces) == 6
    for face in faces:
        np.testing.assert_allclose(np.linalg.det(face.matrix[:3, :3]), 1.0)
        np.testing.assert_array_equal(face.position, INSIDE.position)
    looks = np.array([-face.matrix[:3, 2] for face in faces])
    np.testing.assert_allclose(looks.sum(axis=0), 0.0, atol=1e-12)


def test_depth_files_say_what_the_renderer_says(toy_scene, tmp_path):
    camera = Camera.look_at((0.0, -4.0, 1.0), (0.0, 0.0, 0.0), 40, 30)
    depth = create_renderer(toy_scene, "cpu").render(camera, RenderOptions()).depth
    seen = np.isfinite(depth)
    assert seen.any()
    assert not seen.all()
    for name in ("d_%02d.png", "d_%02d.exr"):
        maker = DepthMaker(RenderOptions()).picture
        job = RenderJob(
            toy_scene,
            [camera] * 2,
            RenderOptions(),
            tmp_path / name,
            40,
            30,
            1,
            backend="cpu",
            make_picture=maker,
            depth=True,
        )
        job.start()
        assert job.wait(60.0)
        assert job.error is None
    with Image.open(tmp_path / "d_01.png") as image:
        assert image.mode == "I;16"
        unit = float(image.text["depth-unit"])  # type: ignore[attr-defined]
        steps = np.asarray(image)
    assert (steps[~seen] == 0).all()
    np.testing.assert_allclose(steps[seen] * unit, depth[seen], atol=0.51 * unit)
    assert unit <= 1e-3
    with av.open(str(tmp_path / "d_01.exr")) as container:
        frame = next(container.decode(video=0))
    rows = np.frombuffer(bytes(frame.planes[0]), np.float32).reshape(30, -1)[:, :40]
    np.testing.assert_array_equal(rows, depth)


def test_depth_goes_to_numbered_png_or_exr(tmp_path):
    for name, frames in (("d.mp4", 1), ("d.png", 2), ("d.jpg", 1)):
        with pytest.raises(OutputError):
            check_depth_output(tmp_path / name, frames)
    with pytest.raises(OutputError):
        DepthSequence(tmp_path / "missing" / "d_%d.png", 1.0)
    assert fitting_unit(6.5) == pytest.approx(1e-4)
    assert fitting_unit(7.0) == pytest.approx(1e-3)


def test_files_of_panoramas_say_what_they_are(tmp_path):
    plain, marked = tmp_path / "plain.mp4", tmp_path / "marked.mp4"
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (64, 128, 3), np.uint8) for _ in range(9)]
    for path in (plain, marked):
        with VideoWriter(path, 128, 64, 30, spherical=path == marked) as writer:
            for picture in pictures:
                writer.write(picture)
    content = marked.read_bytes()
    assert content.index(b"moov") < content.index(UUID) < content.index(b"mdat")
    track = content.index(b"trak") - 4
    assert content.index(UUID) < track + int.from_bytes(content[track : track + 4])
    assert b"<GSpherical:ProjectionType>equirectangular<" in content
    assert UUID not in plain.read_bytes()
    decoded = []
    for path in (plain, marked):
        with av.open(str(path)) as video:
            decoded.append([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])
    assert len(decoded[1]) == 9
    np.testing.assert_array_equal(decoded[0], decoded[1])
    assert {path.name for path in tmp_path.iterdir()} == {"plain.mp4", "marked.mp4"}
    write_png(tmp_path / "still.png", pictures[0], spherical=True)
    with Image.open(tmp_path / "still.png") as still:
        described = str(still.info)
        np.testing.assert_array_equal(np.asarray(still), pictures[0])
    assert 'GPano:ProjectionType="equirectangular"' in described
    assert 'GPano:FullPanoWidthPixels="128"' in described


def test_what_is_no_video_cannot_be_marked(tmp_path):
    for content in (b"", b"nothing", b"\0\0\0\x10moov\0\0\0\x00trak", b"\0\0\0\x08free\0\0\0\x00mdat"):
        (tmp_path / "x.mp4").write_bytes(content)
        with pytest.raises(OutputError):
            mark_spherical(tmp_path / "x.mp4")
        assert (tmp_path / "x.mp4").read_bytes() == content
