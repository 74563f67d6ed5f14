"""The commands as programs: exit codes, one line on standard error, nothing half-written."""

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from kilonerf.commands import import_checkpoint as import_command
from kilonerf.commands import info as info_command
from kilonerf.commands.import_checkpoint import ImportOptions
from kilonerf.commands.info import InfoOptions
from kilonerf.model_io import KiloNeRFError, load_kilonerf_scene, save_scene
from support.scenes import random_scene

TOY = Path("kilonerf_toy")
LOGS = TOY / "logs" / "paper"
SCENE = "Synthetic_NeRF_Toy"


def run(module: str, *arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, as a person starts it."""
    call = f"from kilonerf.{module} import main; main()"
    return subprocess.run(
        [sys.executable, "-c", call, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def run_here(main: Callable[[], None], *arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """The same in this process: torch takes a second to import."""
    output, errors = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(sys, "argv", ["command", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
    return subprocess.CompletedProcess([], int(caught.value.code or 0), output.getvalue(), errors.getvalue())


def assert_one_line(done: subprocess.CompletedProcess[str], program: str, message: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith(f"{program}: error: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert message in done.stderr


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "good.knf"
    save_scene(random_scene(), path)
    return path.read_bytes()


def test_info_as_json(good, tmp_path):
    (tmp_path / "a.knf").write_bytes(good)
    done = run("commands.info", "a.knf", "--json", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    facts = json.loads(done.stdout)
    scene = random_scene()
    assert facts["file_bytes"] == len(good)
    assert facts["network_resolution"] == [2, 3, 4]
    assert facts["occupancy_resolution"] == [8, 12, 16]
    assert facts["occupied_share"] == pytest.approx(scene.occupancy.mean())
    assert (facts["networks"], facts["networks_dropped"]) == (17, 7)
    assert facts["parameters"] == 17 * 6212
    assert facts["dtype"] == "float32"
    assert facts["start_camera"]["position"] == [3.0, 2.0, 1.5]
    assert facts["start_camera"]["fov_y_degrees"] == pytest.approx(40.0)
    assert facts["provenance"] == {"made_by": "tests"}


def test_info_for_people(tmp_path, capsys):
    from dataclasses import replace

    scene = replace(random_scene(), provenance={"note": "[red]not markup[/red]", "files": ["a", "b"]})
    save_scene(scene, tmp_path / "a.knf")
    info_command.run(InfoOptions(tmp_path / "a.knf"))
    text = capsys.readouterr().out
    for words in ("17 kept, 7 dropped", "105,604 in float32", "8 x 12 x 16", "48 samples from 2 to 6", "a, b"):
        assert words in text
    assert "[red]not markup[/red]" in text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("truncated", "file cut short?"),
        ("random bytes", "not a scene file"),
        ("wrong magic", "not a scene file"),
        ("NaN weights", "rgb_linear.weight: expected finite numbers, got 1632"),
        ("disagreeing shapes", "rgb_linear.bias: expected shape [17, 3], got shape [16, 3]"),
        ("another occupancy", "occupancy: expected uint8 [192], got uint8 [191]"),
        ("missing", "a.knf: cannot read: No such file or directory"),
        ("a folder", "a.knf: expected a file, got a folder"),
    ],
)
def test_info_of_bad_files(name, message, good, tmp_path):
    path = tmp_path / "a.knf"
    tensors = safetensors.numpy.load(good)
    metadata = {"knf": json.loads(good[8 : 8 + int.from_bytes(good[:8], "little")])["__metadata__"]["knf"]}

    def changed(**changes: np.ndarray) -> bytes:
        return safetensors.numpy.save(tensors | {key.replace("__", "."): a for key, a in changes.items()}, metadata)

    if name == "a folder":
        path.mkdir()
    elif name != "missing":
        path.write_bytes(
            {
                "truncated": good[:-100],
                "random bytes": np.random.default_rng(0).bytes(5000),
                "wrong magic": b"PK\x03\x04" + good[4:],
                "NaN weights": changed(rgb_linear__weight=np.full_like(tensors["rgb_linear.weight"], np.nan)),
                "disagreeing shapes": changed(rgb_linear__bias=tensors["rgb_linear.bias"][1:]),
                "another occupancy": changed(occupancy=tensors["occupancy"][1:]),
            }[name]
        )
    done = run_here(info_command.main, "a.knf", folder=tmp_path)
    assert_one_line(done, "kilonerf-info", message)


def test_bad_files_in_a_process_of_its_own(good, tmp_path):
    (tmp_path / "a.knf").write_bytes(good[:-1])
    assert_one_line(run("commands.info", "a.knf", folder=tmp_path), "kilonerf-info", "a.knf: ")
    arguments = ("a.knf", "--occupancy", "o", "--bbox", "b", "-o", "out.knf")
    assert_one_line(run("commands.import_checkpoint", *arguments, folder=tmp_path), "kilonerf-import", "a.knf: ")
    assert [path.name for path in tmp_path.iterdir()] == ["a.knf"]


@pytest.mark.parametrize("module", ["commands.info", "commands.import_checkpoint"])
def test_wrong_use_and_help(module, tmp_path):
    done = run(module, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    done = run(module, "--help", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage: kilonerf-" in done.stdout


def test_commands_need_no_torch_until_they_read_a_checkpoint():
    code = "import sys, kilonerf.commands.import_checkpoint, kilonerf.commands.info; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


# ---- kilonerf-import


@pytest.fixture(scope="module")
def torch():
    pytest.importorskip("yaml")
    return pytest.importorskip("torch")


def toy_arguments(data: Path, **changes: object) -> dict[str, object]:
    return {
        "checkpoint": data / LOGS / "finetune" / SCENE / "checkpoint_0000001.pth",
        "occupancy": data / LOGS / "pretrain_occupancy" / SCENE / "occupancy.pth",
        "bbox": data / TOY / "data_Toy" / "bbox.txt",
        "output": "out.knf",
    } | changes


def flags(arguments: dict[str, object]) -> list[object]:
    rest = [(f"--{key.replace('_', '-')}", value) for key, value in arguments.items() if key != "checkpoint"]
    return [arguments["checkpoint"], *(word for pair in rest for word in pair)]


def test_import(torch, shared_data, tmp_path):
    cameras = shared_data / TOY / "data_Toy"
    arguments = toy_arguments(shared_data, cameras=cameras, start_view="2_003", source="tests")
    done = run("commands.import_checkpoint", *flags(arguments), folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    scene = load_kilonerf_scene(tmp_path / "out.knf")
    size = (tmp_path / "out.knf").stat().st_size / 1e6
    occupied = 100 * scene.occupancy.mean()
    assert done.stdout == (
        f"out.knf: networks 2x3x4, {scene.num_networks} kept and {24 - scene.num_networks} dropped; "
        f"occupancy 8x12x16, {occupied:.2f} % occupied; float16; {size:.1f} MB\n"
    )
    oracle = np.load(shared_data / TOY / "oracle.npz")
    assert scene.start_camera is not None
    np.testing.assert_array_equal(scene.start_camera.matrix, oracle["poses"][1])
    assert scene.training_poses is not None
    assert scene.training_poses.shape == (2, 4, 4)
    assert scene.provenance["source"] == "tests"


def test_import_by_flags_alone(torch, shared_data, tmp_path):
    import shutil

    for key, path in toy_arguments(shared_data).items():
        if key != "output":
            shutil.copy(str(path), tmp_path / f"{key}{Path(str(path)).suffix}")
    options = ImportOptions(
        checkpoint=tmp_path / "checkpoint.pth",
        occupancy=tmp_path / "occupancy.pth",
        bbox=tmp_path / "bbox.txt",
        output=tmp_path / "out.knf",
        resolution=(2, 3, 4),
        near=1.5,
        far=5.5,
        samples=33,
        dtype="float32",
        keep_empty=True,
    )
    import_command.run(options)
    scene = load_kilonerf_scene(tmp_path / "out.knf")
    assert (scene.near, scene.far, scene.num_samples, scene.num_networks) == (1.5, 5.5, 33, 24)
    assert scene.dtype == np.float32
    assert scene.start_camera is not None


BAD_IMPORTS = {
    "a missing checkpoint": ({"checkpoint": "nowhere.pth"}, "nowhere.pth: expected a file, got nothing there"),
    "a folder": ({"checkpoint": "."}, "expected a file, got a folder"),
    "random bytes": ({"checkpoint": "random.bin"}, "random.bin: expected a file written by torch.save"),
    "a malicious pickle": ({"checkpoint": "malicious.pth"}, "refused, nothing in it was run: it names "),
    "another occupancy": ({"occupancy": "occupancy.pth"}, "occupancy.pth: occupancy: expected a resolution that"),
    "a missing box": ({"bbox": "nowhere.txt"}, "nowhere.txt: expected a file, got nothing there"),
    "another resolution": ({"resolution": "3 3 3"}, "resolution: expected a grid of 24 networks"),
    "near behind far": ({"near": 7}, "near: expected 0 <= near < far, got near 7.0, far 6.0"),
    "no such data set": ({"cameras": "nowhere"}, "nowhere: expected a file, got nothing there"),
    "no such view": ({"cameras": "CAMERAS", "start_view": "r_7"}, "expected a view 'r_7', got 2_002, 2_003"),
    "a view of no data set": ({"start_view": "r_7"}, "--start-view: expected --cameras with it"),
    "a missing folder for the output": ({"output": "missing/out.knf"}, "missing/out.knf: cannot write"),
    "a folder for the output": ({"output": "."}, "expected a file to write, got a folder"),
}


@pytest.mark.parametrize("name", BAD_IMPORTS)
def test_bad_imports_write_nothing(name, torch, shared_data, tmp_path):
    changes, message = BAD_IMPORTS[name]

    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "trapped",)

    torch.save({"model_state_dict": Trap()}, tmp_path / "malicious.pth")
    torch.save(torch.ones(8, 12, 18, dtype=torch.bool), tmp_path / "occupancy.pth")
    (tmp_path / "random.bin").write_bytes(np.random.default_rng(0).bytes(500))
    before = sorted(tmp_path.rglob("*"))
    arguments = toy_arguments(shared_data, **changes)
    words = [str(word) for word in flags(arguments)]
    words = [part for word in words for part in (word.split(" ") if word == "3 3 3" else [word])]
    words = [str(shared_data / TOY / "data_Toy") if word == "CAMERAS" else word for word in words]
    done = run_here(import_command.main, *words, folder=tmp_path)
    assert_one_line(done, "kilonerf-import", message)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_failed_import_leaves_the_old_file(torch, shared_data, tmp_path):
    (tmp_path / "out.knf").write_bytes(b"old")
    options = ImportOptions(**toy_arguments(shared_data, output=tmp_path / "out.knf", near=7.0))  # pyright: ignore
    with pytest.raises(KiloNeRFError):
        import_command.run(options)
    assert (tmp_path / "out.knf").read_bytes() == b"old"
