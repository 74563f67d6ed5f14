import itertools

import av
import numpy as np
import pytest
from PIL import Image

from kilonerf.kernels import BackendChoice, RenderOptions
from kilonerf.model_io import BackendError, Camera, CameraPath, OutputError
from kilonerf.viewer.recording.render_job import RenderJob, path_cameras

PATIENCE = 30.0  # seconds after which a job that should be over fails its test


def flight(seconds: float = 1.0) -> CameraPath:
    ends = [Camera.look_at((x, 2.0, 1.0), (0.0, 0.0, 0.0), 10, 10) for x in (-2.0, 2.0)]
    return CameraPath.from_cameras([5.0, 5.0 + seconds], ends)


def make_job(scene, output, path=None, fps=10, **changes) -> RenderJob:
    return RenderJob(scene, path or flight(), RenderOptions(), output, 32, 24, fps, **changes)


def run(job: RenderJob) -> RenderJob:
    job.start()
    assert job.wait(PATIENCE)
    return job


def names(folder) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def count_frames(path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.mark.parametrize(
    ("seconds", "fps", "count"), [(1.0, 10, 11), (0.95, 10, 10), (0.1 + 0.2, 10, 4), (2.0, 29.97, 60)]
)
def test_frame_k_shows_the_camera_at_k_over_fps(seconds, fps, count):
    path = flight(seconds)
    cameras = path_cameras(path, 32, 24, fps)
    assert len(cameras) == count
    for k, camera in enumerate(cameras):
        assert camera == path.camera_at(5.0 + k / fps, 32, 24)


def test_a_still_is_one_frame():
    path = CameraPath.from_cameras([3.0], [Camera.look_at((3, 0, 0), (0, 0, 0), 8, 8)])
    assert len(path_cameras(path, 8, 8, 30)) == 1


@pytest.mark.parametrize("name", ["out.mp4", "out.webm"])
def test_a_video_has_every_frame_and_the_right_pictures(toy_scene, fake_renderers, tmp_path, name):
    job = run(make_job(toy_scene, tmp_path / name, backend=BackendChoice(threads=3, device=1, cpu_path="avx2")))
    assert (job.state, job.error) == ("finished", None)
    assert (job.progress.done, job.progress.total) == (11, 11)
    made = fake_renderers[0]
    assert (made.threads, made.device_index, made.cpu_path) == (3, 1, "avx2")
    assert names(tmp_path) == [name]
    with av.open(str(tmp_path / name)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 11
    reds = [frame[..., 0].mean() for frame in frames]
    np.testing.assert_allclose(reds, 255 * (0.5 + 0.1 * np.linspace(-2, 2, 11)), atol=4)


def test_png_files_are_numbered_and_exact(toy_scene, fake_renderers, tmp_path):
    run(make_job(toy_scene, tmp_path / "frame_%04d.png"))
    assert names(tmp_path) == [f"frame_{k:04d}.png" for k in range(11)]
    picture = np.asarray(Image.open(tmp_path / "frame_0005.png"))
    assert picture.shape == (24, 32, 3)
    assert picture[3, 4].tolist() == [128, 179, 153]  # 0.5, 0.7, 0.6 of 255, rounded


def test_part_of_a_flight_keeps_its_numbers_and_resume_fills_the_gaps(toy_scene, fake_renderers, tmp_path):
    output = tmp_path / "f_%d.png"
    run(make_job(toy_scene, output, frames=range(4, 7)))
    assert names(tmp_path) == ["f_4.png", "f_5.png", "f_6.png"]
    (tmp_path / "f_5.png").unlink()
    before = (tmp_path / "f_4.png").stat().st_mtime_ns
    job = run(make_job(toy_scene, output, frames=range(3, 8), resume=True))
    assert names(tmp_path) == [f"f_{k}.png" for k in range(3, 8)]
    assert len(fake_renderers[1].cameras) == 3
    assert (job.progress.done, job.progress.total) == (5, 5)
    assert (tmp_path / "f_4.png").stat().st_mtime_ns == before


def test_one_plain_name_takes_one_frame_only(toy_scene, fake_renderers, tmp_path):
    run(make_job(toy_scene, tmp_path / "still.png", frames=range(3, 4)))
    assert names(tmp_path) == ["still.png"]
    with pytest.raises(OutputError, match=r"such as frame_%04d\.png for 11 frames"):
        make_job(toy_scene, tmp_path / "still.png")


def test_given_cameras_keep_their_lens(toy_scene, fake_renderers, tmp_path):
    camera = Camera.from_matrix(np.eye(4), 64, 48, fx=70.0, fy=60.0, cx=30.0, cy=25.0)
    run(make_job(toy_scene, tmp_path / "a.png", path=[camera]))
    assert fake_renderers[0].cameras == [camera.resized(32, 24)]


@pytest.mark.parametrize(("name", "left"), [("out.mp4", []), ("f_%d.png", ["f_0.png", "f_1.png"])])
def test_abort_stops_within_a_slow_frame(toy_scene, fake_renderers, tmp_path, name, left):
    def block_third_frame(renderer):
        renderer.block_at = 2

    fake_renderers.prepare = block_third_frame
    job = make_job(toy_scene, tmp_path / name)
    assert not job.wait(0.0)
    job.start()
    while not fake_renderers:
        assert not job.wait(0.001)
    assert fake_renderers[0].blocked.wait(PATIENCE)
    assert (job.state, job.progress.done) == ("running", 2)
    job.abort()
    assert job.wait(PATIENCE)
    assert (job.state, job.error) == ("aborted", None)
    assert names(tmp_path) == left


@pytest.mark.parametrize(("name", "left"), [("out.mp4", []), ("f_%d.png", ["f_0.png", "f_1.png"])])
def test_a_failure_is_kept_for_whoever_waits(toy_scene, fake_renderers, tmp_path, name, left):
    def fail_at_third_frame(renderer):
        renderer.fail_at = 2

    fake_renderers.prepare = fail_at_third_frame
    job = run(make_job(toy_scene, tmp_path / name))
    assert job.state == "failed"
    assert isinstance(job.error, BackendError)
    assert names(tmp_path) == left


def test_an_unknown_backend_leaves_nothing(toy_scene, fake_renderers, tmp_path):
    job = run(make_job(toy_scene, tmp_path / "out.mp4", backend="opal"))
    assert isinstance(job.error, BackendError)
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["none/out.mp4", "none/f_%d.png", "file/f_%d.png"])
def test_an_output_that_cannot_be_written_is_found_before_rendering(toy_scene, fake_renderers, tmp_path, name):
    (tmp_path / "file").write_text("in the way")
    job = make_job(toy_scene, tmp_path / name)
    with pytest.raises(OutputError, match="cannot write"):
        job.start()
    assert fake_renderers == []
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("name", ["out.gif", "out", "f_%d_%d.png", "f_%s.png", "f_%04x.png"])
def test_a_wrong_name_is_refused_at_once(toy_scene, tmp_path, name):
    with pytest.raises(OutputError, match="expected"):
        make_job(toy_scene, tmp_path / name)


def test_time_left_follows_the_frames_rendered(toy_scene, fake_renderers, tmp_path):
    ticks = itertools.count(0.0, 2.0)  # two seconds per frame
    job = make_job(toy_scene, tmp_path / "f_%d.png", frames=range(4), clock=lambda: next(ticks))
    assert job.progress.seconds_left is None
    seen = []
    fake_renderers.prepare = lambda renderer: setattr(renderer, "render", spying(renderer.render, seen, job))
    run(job)
    assert seen == [None, 6.0, 4.0, 2.0]
    assert job.progress.seconds_left == 0.0


def spying(render, seen, job):
    def spy(*arguments, **options):
        seen.append(job.progress.seconds_left)
        return render(*arguments, **options)

    return spy


def test_a_job_starts_once(toy_scene, fake_renderers, tmp_path):
    job = run(make_job(toy_scene, tmp_path / "out.mp4"))
    with pytest.raises(RuntimeError, match="twice"):
        job.start()
    assert count_frames(tmp_path / "out.mp4") == 11
