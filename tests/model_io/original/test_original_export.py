"""Scenes in the original layout: imported again they are the same, bit for bit."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kilonerf.commands.export_checkpoint import ExportOptions
from kilonerf.commands.export_checkpoint import run as run_command
from kilonerf.model_io import CheckpointError, KiloNeRFScene, OutputError, import_checkpoint, save_scene
from kilonerf.model_io.original.export import export_original
from support.scenes import nested_scene, random_scene

torch = pytest.importorskip("torch")
yaml = pytest.importorskip("yaml")

TENSORS = {  # KiloNeRF's MultiNetwork: this order, the bias first, weights [N, in, out]
    "pts_linears.0.bias": (32,),
    "pts_linears.0.weight": (63, 32),
    "pts_linears.1.bias": (32,),
    "pts_linears.1.weight": (32, 32),
    "direction_layer.bias": (32,),
    "direction_layer.weight": (59, 32),
    "feature_linear.bias": (32,),
    "feature_linear.weight": (32, 32),
    "alpha_linear.bias": (1,),
    "alpha_linear.weight": (32, 1),
    "rgb_linear.bias": (3,),
    "rgb_linear.weight": (32, 3),
}
FILES = {
    "bbox.txt",
    "near_and_far.txt",
    "background_color.txt",
    "distill.yaml",
    "finetune.yaml",
    "occupancy.yaml",
    "occupancy.pth",
    "finetune/checkpoint_final.pth",
}


def awkward_scene() -> KiloNeRFScene:
    """Numbers that a careless text loses, a grid that is not the paper's factor, and a coloured background."""
    scene = random_scene(factor=(2, 3, 4), seed=3)
    return replace(
        scene,
        box_min=np.nextafter(scene.box_min, np.float32(-9)) / np.float32(3),
        box_max=np.array([1e-7, 1 / 3, 1234.5677], np.float32),
        near=1e-5 / 3,
        far=20 / 3,
        num_samples=77,
        background=(0.1, 1 / 3, 1e-9),
    )


def reimported(folder: Path, **more: object) -> KiloNeRFScene:
    return import_checkpoint(
        folder / "finetune" / "checkpoint_final.pth",
        occupancy=folder / "occupancy.pth",
        bbox=folder / "bbox.txt",
        dtype="float32",
        **more,  # pyright: ignore[reportArgumentType]
    )


def assert_same(one: KiloNeRFScene, other: KiloNeRFScene) -> None:
    for name in ("box_min", "box_max", "occupancy", "network_index"):
        a, b = getattr(one, name), getattr(other, name)
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()), name
    assert one.layers.keys() == other.layers.keys()
    for name, array in one.layers.items():
        assert array.tobytes() == other.layers[name].tobytes(), name
    for name in ("near", "far", "num_samples", "background"):
        assert getattr(one, name) == getattr(other, name), name


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("make", [random_scene, awkward_scene])
def test_imported_again_it_is_the_same(make, tmp_path):
    scene = make()
    assert (scene.network_index < 0).any()
    path = export_original(scene, tmp_path / "new" / "folder", global_step=123)
    assert path == tmp_path / "new" / "folder" / "finetune" / "checkpoint_final.pth"
    assert files_of(tmp_path / "new" / "folder") == FILES
    again = reimported(tmp_path / "new" / "folder")
    assert_same(again, scene)
    assert again.provenance["global_step"] == 123


def test_the_toy_of_the_original_code(shared_data, tmp_path):
    toy = shared_data / "kilonerf_toy"
    logs = toy / "logs" / "paper"
    original = logs / "finetune" / "Synthetic_NeRF_Toy" / "checkpoint_0000001.pth"
    scene = import_checkpoint(
        original,
        occupancy=logs / "pretrain_occupancy" / "Synthetic_NeRF_Toy" / "occupancy.pth",
        bbox=toy / "data_Toy" / "bbox.txt",
        dtype="float32",
        keep_empty=True,
    )
    path = export_original(scene, tmp_path)
    assert_same(reimported(tmp_path, keep_empty=True), scene)
    theirs, ours = (torch.load(file, weights_only=False) for file in (original, path))
    assert list(ours) == list(theirs)
    for (name, tensor), (our_name, our_tensor) in zip(
        theirs["model_state_dict"].items(), ours["model_state_dict"].items(), strict=True
    ):
        assert name == our_name
        assert tensor.dtype == our_tensor.dtype
        assert torch.equal(tensor, our_tensor)
    for key in ("torch_rng_state", "torch_cuda_rng_state"):
        assert (ours[key].dtype, ours[key].shape) == (theirs[key].dtype, theirs[key].shape)


def test_the_checkpoint_is_one_of_the_original_code(tmp_path):
    """What the original code does with it: torch.load, load_state_dict of everything, random states set."""
    scene = random_scene()
    checkpoint = torch.load(export_original(scene, tmp_path, global_step=5), weights_only=False)
    keys = ["global_step", "model_state_dict", "optimizer_state_dict"]
    assert list(checkpoint) == [*keys, "torch_rng_state", "torch_cuda_rng_state", "numpy_rng_state"]
    assert checkpoint["global_step"] == 5
    state = checkpoint["model_state_dict"]
    assert type(state).__name__ == "OrderedDict"
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == {
        name: (24, *shape) for name, shape in TENSORS.items()
    }
    assert list(state) == list(TENSORS)
    assert all(tensor.dtype == torch.float32 and tensor.is_contiguous() for tensor in state.values())
    for cell, row in enumerate(scene.network_index.reshape(-1)):  # x-major
        for name, tensor in state.items():
            expected = scene.layers[name][row] if row >= 0 else np.zeros(TENSORS[name], np.float32)
            np.testing.assert_array_equal(tensor[cell].numpy(), expected)

    parameters = [torch.nn.Parameter(tensor) for tensor in state.values()]
    optimiser = torch.optim.Adam(parameters, lr=1.0)
    optimiser.load_state_dict(checkpoint["optimizer_state_dict"])
    assert optimiser.param_groups[0]["lr"] == 0.001
    torch.stack([parameter.sum() for parameter in parameters]).sum().backward()
    optimiser.step()
    torch.Generator().set_state(checkpoint["torch_rng_state"])
    np.random.RandomState(1).set_state(checkpoint["numpy_rng_state"])
    numbers = np.random.RandomState(1)
    numbers.set_state(checkpoint["numpy_rng_state"])
    assert numbers.rand() == np.random.RandomState(0).rand()


def test_the_pickle_names_no_private_module_of_numpy(tmp_path):
    """NumPy 2 names numpy._core, which the NumPy of the paper's time does not have."""
    names = torch.serialization.get_unsafe_globals_in_checkpoint(export_original(random_scene(), tmp_path))
    assert names == ["numpy.ndarray"]


def test_what_the_layout_cannot_say_is_brought_to_grid_order(tmp_path):
    """Networks in another order, and one in a cell where nothing is."""
    scene = random_scene(dtype=np.float16)
    order = np.random.default_rng(0).permutation(scene.num_networks)
    index = np.where(scene.network_index < 0, -1, np.argsort(order)[scene.network_index]).astype(np.int32)
    occupancy = scene.occupancy.copy()
    emptied = tuple(np.argwhere(index >= 0)[0])
    occupancy[tuple(slice(4 * i, 4 * i + 4) for i in emptied)] = False
    layers = {name: np.ascontiguousarray(array[order]) for name, array in scene.layers.items()}
    other = replace(scene, occupancy=occupancy, network_index=index, layers=layers)
    export_original(other, tmp_path)
    again = reimported(tmp_path)
    assert again.num_networks == scene.num_networks - 1
    assert again.network_index[emptied] == -1
    for cell in np.argwhere(again.network_index >= 0):
        for name, array in again.layers.items():
            expected = scene.layers[name][scene.network_index[tuple(cell)]].astype(np.float32)
            np.testing.assert_array_equal(array[again.network_index[tuple(cell)]], expected)
    everything = reimported(tmp_path, keep_empty=True)
    row = scene.network_index[emptied]
    kept = everything.layers["rgb_linear.weight"][everything.network_index[emptied]]
    np.testing.assert_array_equal(kept, scene.layers["rgb_linear.weight"][row].astype(np.float32))


def test_nothing_is_overwritten_unless_asked(tmp_path):
    export_original(random_scene(), tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in FILES}
    (tmp_path / "bbox.txt").unlink()
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"near_and_far\.txt: expected no such file yet, got 7 of 8 to overwrite"):
        export_original(awkward_scene(), tmp_path)
    assert files_of(tmp_path) == FILES - {"bbox.txt"} | {"mine.txt"}
    export_original(awkward_scene(), tmp_path, overwrite=True)
    assert_same(reimported(tmp_path), awkward_scene())
    assert files_of(tmp_path) == FILES | {"mine.txt"}
    export_original(random_scene(), tmp_path, overwrite=True)
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == before


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file: cannot make this folder"):
        export_original(random_scene(), tmp_path / "file")
    (tmp_path / "out" / "occupancy.pth").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"occupancy\.pth: expected a file to write, got a folder"):
        export_original(random_scene(), tmp_path / "out", overwrite=True)
    assert not (tmp_path / "out" / "finetune" / "checkpoint_final.pth").exists()


def test_a_damaged_export_is_refused(tmp_path):
    path = export_original(random_scene(), tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"checkpoint_final\.pth: expected a file written by torch\.save"):
        reimported(tmp_path)


@pytest.mark.parametrize("module", ["torch", "yaml"])
def test_without_what_it_needs(module, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(CheckpointError, match=r"needs .*: pip install 'kilonerf-view\[import\]'"):
        export_original(random_scene(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_module_does_not_import_torch():
    check = "import sys, kilonerf.commands.export_checkpoint as e; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_the_command(tmp_path, capsys):
    scene = awkward_scene()
    save_scene(scene, tmp_path / "a.knf")
    run_command(ExportOptions(tmp_path / "a.knf", tmp_path / "out"))
    assert_same(reimported(tmp_path / "out"), scene)
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "networks 2x3x4, of which " in said
    with pytest.raises(OutputError, match="to overwrite"):
        run_command(ExportOptions(tmp_path / "a.knf", tmp_path / "out"))
    run_command(ExportOptions(tmp_path / "a.knf", tmp_path / "out", overwrite=True))


def test_nested_boxes_have_no_place_in_the_original_layout(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected a scene of one box"):
        export_original(nested_scene(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
