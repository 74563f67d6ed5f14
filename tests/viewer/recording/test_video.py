from fractions import Fraction

import av
import numpy as np
import pytest

from kilonerf.model_io import OutputError
from kilonerf.viewer.recording.video import VideoWriter

# Patches of 32x32: saturated colours come out right only if matrix, range and tags agree.
COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [128, 128, 128], [255, 255, 255], [200, 120, 40]], np.uint8)


def colour_patches() -> np.ndarray:
    return np.repeat(np.repeat(COLOURS.reshape(2, 3, 3), 32, axis=0), 32, axis=1)


def read_back(path):
    """Frames as RGB [N, H, W, 3], the stream's rate, and its presentation times in seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        assert {(f.colorspace, f.color_range) for f in frames} == {(1, 1)}  # BT.709, limited
        assert (stream.codec_context.color_primaries, stream.codec_context.color_trc) == (1, 13)
        rgb = np.stack([f.to_ndarray(format="rgb24", src_colorspace="ITU709", dst_colorspace="ITU709") for f in frames])
        return rgb, stream.average_rate, [f.time for f in frames], stream.codec_context.name


@pytest.mark.parametrize(
    ("name", "codec", "decoded_as"),
    [
        ("out.mp4", "auto", "h264"),
        ("out.MP4", "h264", "h264"),
        ("out.mp4", "av1", "av1"),
        ("out.webm", "auto", "vp9"),
        ("out.webm", "av1", "av1"),
    ],
)
def test_frames_colours_and_times_survive(tmp_path, name, codec, decoded_as):
    path = tmp_path / name
    with VideoWriter(path, 96, 64, 25, quality=95, codec=codec) as video:
        for k in range(30):
            video.write(np.roll(colour_patches(), 32 * (k // 10), axis=1))
        assert not path.exists()
    rgb, rate, times, codec_name = read_back(path)
    assert decoded_as in codec_name
    assert rgb.shape == (30, 64, 96, 3)
    assert rate == Fraction(25)
    np.testing.assert_allclose(times, np.arange(30) / 25, atol=1e-3)
    for k in (0, 15, 29):
        expected = np.roll(colour_patches(), 32 * (k // 10), axis=1)[16::32, 16::32].astype(int)
        assert np.abs(rgb[k][16::32, 16::32].astype(int) - expected).max() <= 6
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_odd_sizes_repeat_the_last_row_and_column(tmp_path):
    picture = np.full((33, 65, 3), 90, np.uint8)
    with VideoWriter(tmp_path / "odd.mp4", 65, 33, 29.97) as video:
        video.write(picture)
    rgb, rate, _, _ = read_back(tmp_path / "odd.mp4")
    assert rgb.shape == (1, 34, 66, 3)
    assert np.abs(rgb.astype(int) - 90).max() <= 3
    assert rate == Fraction(30000, 1001)


def test_more_quality_takes_more_bytes(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (10, 64, 64, 3), np.uint8)
    sizes = []
    for quality in (0, 80, 100):
        with VideoWriter(tmp_path / "q.mp4", 64, 64, 10, quality=quality) as video:
            for picture in noise:
                video.write(picture)
        sizes.append((tmp_path / "q.mp4").stat().st_size)
    assert sizes == sorted(set(sizes))


def test_abort_and_errors_leave_nothing_and_keep_what_was_there(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"older")
    video = VideoWriter(path, 64, 48, 30)
    video.write(np.zeros((48, 64, 3), np.uint8))
    video.abort()
    with pytest.raises(KeyError), VideoWriter(path, 64, 48, 30):
        raise KeyError
    with pytest.raises(OutputError, match="at least one frame"), VideoWriter(path, 64, 48, 30):
        pass
    with VideoWriter(path, 64, 48, 30) as video:
        with pytest.raises(ValueError, match="expected uint8"):
            video.write(np.zeros((64, 48, 3), np.uint8))
        assert path.read_bytes() == b"older"
        video.write(np.zeros((48, 64, 3), np.uint8))
    assert path.read_bytes() != b"older"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("out.avi", {}, r"expected a video ending in \.mp4 or \.webm, got '\.avi'"),
        ("out", {}, "expected a video ending in"),
        ("out.webm", {"codec": "h264"}, "holds vp9 or av1, got h264"),
        ("none/out.mp4", {}, "cannot write: No such file"),
        ("out.mp4", {"quality": 101}, "quality from 0 to 100"),
        ("out.mp4", {"fps": 0.0}, "frames per second"),
        ("out.mp4", {"fps": float("nan")}, "frames per second"),
        ("out.mp4", {"width": 0}, "at least 1x1"),
        ("out.mp4", {"width": 40_000}, "no encoder for 40000x48"),
    ],
)
def test_what_cannot_be_written_is_said_at_once(tmp_path, name, options, says):
    arguments = {"width": 64, "height": 48, "fps": 30} | options
    with pytest.raises(OutputError, match=says):
        VideoWriter(tmp_path / name, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_video(tmp_path):
    (tmp_path / "out.mp4").mkdir()
    with pytest.raises(OutputError, match="got a folder"):
        VideoWriter(tmp_path / "out.mp4", 64, 48, 30)
