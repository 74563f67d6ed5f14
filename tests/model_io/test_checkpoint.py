import itertools
import pickle
import sys
import types
import zipfile
from collections import OrderedDict, deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kilonerf.model_io import LAYER_SHAPES, CheckpointError, DatasetError, Scene, SceneError, import_checkpoint
from kilonerf.model_io.checkpoint import three_quarter_view
from kilonerf.model_io.restricted_pickle import read_torch_file

torch = pytest.importorskip("torch")
yaml = pytest.importorskip("yaml")

RESOLUTION = (2, 3, 4)
CELLS = 24
BOX = (np.array([-0.6, -0.9, -0.4]), np.array([0.6, 0.7, 1.0]))
EMPTY_CELL = (0, 1, 2)


def tensors(networks: int = CELLS, *, transposed: bool = False) -> OrderedDict:
    """Tensors in the layout of a fine-tuned checkpoint; every number says which network it is of."""
    state = OrderedDict()
    for name, (inputs, outputs) in LAYER_SHAPES.items():
        size = (networks, outputs, inputs) if transposed else (networks, inputs, outputs)
        number = torch.arange(networks, dtype=torch.float32)
        state[f"{name}.bias"] = number[:, None].repeat(1, outputs)
        state[f"{name}.weight"] = number[:, None, None] + torch.rand(size)
    return state


class Files:
    """A checkpoint and what belongs to it, in the way of the tests' folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoint, self.occupancy, self.bbox = (
            folder / name for name in ("checkpoint.pth", "occupancy.pth", "bbox.txt")
        )
        occupancy = torch.zeros(8, 12, 16, dtype=torch.bool)
        occupancy[::4, ::4, ::4] = True  # one voxel of every cell
        occupancy[tuple(4 * index for index in EMPTY_CELL)] = False
        torch.save(occupancy, self.occupancy)
        self.bbox.write_text("-0.6 -0.9 -0.4 0.6 0.7 1.0 0.4\n")
        (folder / "near_and_far.txt").write_text("2.0 6.0")
        self.yaml("distill", fixed_resolution=list(RESOLUTION), discovery={"refeed_position_index": "None"})
        self.yaml("finetune", distilled_cfg_path="cfgs/x.yaml", num_samples_per_ray=48)
        self.state(tensors())

    def yaml(self, name: str, **content: object) -> Path:
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    def state(self, state: object) -> None:
        torch.save({"global_step": 7, "model_state_dict": state}, self.checkpoint)

    def load(self, **changes: Any) -> Scene:
        paths: dict[str, Any] = {"occupancy": self.occupancy, "bbox": self.bbox} | changes
        return import_checkpoint(self.checkpoint, **paths)


@pytest.fixture
def files(tmp_path) -> Files:
    return Files(tmp_path)


# ---- what is imported


def test_fine_tuned(files):
    state = tensors()
    files.state(state)
    scene = files.load(dtype="float32", keep_empty=True)
    np.testing.assert_array_equal(scene.network_index, np.arange(CELLS).reshape(RESOLUTION))  # x-major
    for name, tensor in state.items():
        np.testing.assert_array_equal(scene.layers[name], tensor.numpy())
    np.testing.assert_array_equal(scene.aabb_min, np.float32(BOX[0]))
    np.testing.assert_array_equal(scene.aabb_max, np.float32(BOX[1]))
    assert (scene.near, scene.far, scene.num_samples, scene.background) == (2.0, 6.0, 48, (1.0, 1.0, 1.0))
    assert scene.provenance["layout"] == "fine-tuned"
    assert scene.provenance["global_step"] == 7


def test_empty_cells_are_dropped(files):
    scene = files.load()
    assert scene.num_networks == CELLS - 1
    assert scene.dtype == np.float16
    assert scene.network_index[EMPTY_CELL] == -1
    for cell in np.ndindex(RESOLUTION):
        if cell != EMPTY_CELL:  # each other cell still has its own network
            row = scene.network_index[cell]
            assert scene.layers["alpha_linear.bias"][row, 0] == np.ravel_multi_index(cell, RESOLUTION)


def test_files_of_the_papers_time_are_read(files):
    """PyTorch 1.8 on a GPU with NumPy 1: tensors on cuda:0, NumPy's older names, no entries of newer torch."""
    state = tensors()
    content = {
        "global_step": 1_000_000,
        "model_state_dict": state,
        "torch_rng_state": torch.zeros(5056, dtype=torch.uint8),
        "numpy_rng_state": np.random.RandomState(0).get_state(),
    }
    torch.save(content, files.checkpoint)
    with zipfile.ZipFile(files.checkpoint) as source:
        entries = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(files.checkpoint, "w") as target:
        for name, data in entries.items():
            if name.endswith("data.pkl"):
                assert b"X\x03\0\0\0cpu" in data
                old = data.replace(b"X\x03\0\0\0cpu", b"X\x06\0\0\0cuda:0")
                data = old.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
                assert b"numpy.core.multiarray" in data
            if "/data" in name or name.endswith("/version"):
                target.writestr(name, data)
    scene = files.load(dtype="float32", keep_empty=True)
    assert scene.provenance["global_step"] == 1_000_000
    for name, tensor in state.items():
        np.testing.assert_array_equal(scene.layers[name], tensor.numpy())


def test_torchs_weight_order_is_recognised(files):
    state = tensors(transposed=True)
    files.state(state)
    scene = files.load(dtype="float32", keep_empty=True)
    np.testing.assert_array_equal(
        scene.layers["pts_linears.1.weight"], state["pts_linears.1.weight"].numpy().transpose(0, 2, 1)
    )
    assert all(array.flags.c_contiguous for array in scene.layers.values())


def test_shared_colour_layers_are_repeated(files):
    """use_hard_parameter_sharing_for_color: one nn.Linear, [OUT, IN], for all networks."""
    state = tensors()
    for name in ("direction_layer", "rgb_linear"):
        inputs, outputs = LAYER_SHAPES[name]
        state[f"{name}.weight"], state[f"{name}.bias"] = torch.rand(outputs, inputs), torch.rand(outputs)
    files.state(state)
    scene = files.load(dtype="float32", keep_empty=True)
    for network in (0, 11, CELLS - 1):
        np.testing.assert_array_equal(scene.layers["rgb_linear.weight"][network], state["rgb_linear.weight"].numpy().T)
        np.testing.assert_array_equal(scene.layers["direction_layer.bias"][network], state["direction_layer.bias"])


def test_given_values_come_before_found_ones(files):
    (files.folder / "background_color.txt").write_text("0 0 0")
    scene = files.load()
    assert scene.background == (0.0, 0.0, 0.0)
    scene = files.load(near=1.0, far=9.0, num_samples=12, background=(0.0, 1.0, 0.0), provenance={"source": "tests"})
    assert (scene.near, scene.far, scene.num_samples, scene.background) == (1.0, 9.0, 12, (0.0, 1.0, 0.0))
    assert scene.provenance["source"] == "tests"
    files.yaml("finetune", distilled_cfg_path="x", num_samples_per_ray=48, near=3, far=5)
    assert files.load().near == 3.0


def test_the_box_of_the_yaml_comes_before_the_file(files):
    files.yaml("finetune", distilled_cfg_path="x", num_samples_per_ray=48, global_domain_min=[0, 0, 0],
               global_domain_max=[1, 1, 1])  # fmt: skip
    assert files.load().aabb_max.tolist() == [1, 1, 1]


def test_resolution_from_a_sixteenth_of_the_occupancy(files):
    (files.folder / "distill.yaml").unlink()
    with pytest.raises(CheckpointError, match=r"give --resolution RX RY RZ"):
        files.load()
    assert files.load(resolution=RESOLUTION).resolution == RESOLUTION
    torch.save(torch.ones(32, 48, 64, dtype=torch.bool), files.occupancy)
    assert files.load().resolution == RESOLUTION


def test_yamls_of_the_original_layout(files, tmp_path):
    for stage, content in {
        "pretrain": {"num_samples_per_ray": 8},
        "distill": {"fixed_resolution": list(RESOLUTION)},
        "finetune": {"distilled_cfg_path": "x", "num_samples_per_ray": 99},
    }.items():
        folder = tmp_path / "cfgs" / "paper" / stage
        folder.mkdir(parents=True)
        (folder / "Scene.yaml").write_text(yaml.safe_dump(content))
        (folder / "Other.yaml").write_text(yaml.safe_dump(content | {"fixed_resolution": [1, 1, 24]}))
    for stage in ("finetune", "finetune_again", "distill"):
        log = tmp_path / "logs" / "paper" / stage / "Scene"
        log.mkdir(parents=True)
        files.checkpoint = log / "checkpoint_1000000.pth"
        files.state(tensors())
        scene = files.load()
        assert (scene.resolution, scene.num_samples) == (RESOLUTION, 99)
    assert files.load(config=tmp_path / "finetune.yaml", resolution=RESOLUTION).num_samples == 48


def test_the_start_camera_sees_the_whole_box():
    box = np.stack(BOX).astype(np.float32)
    camera = three_quarter_view(box)
    for corner in itertools.product(*box.T.tolist()):
        x, y, z = camera.matrix[:3, :3].T @ (np.asarray(corner) - camera.position)
        assert z < 0
        assert 0 <= camera.cx + camera.fx * x / -z <= camera.width
        assert 0 <= camera.cy - camera.fy * y / -z <= camera.height


# ---- distilled checkpoints: pickled modules


@pytest.fixture
def original_modules(monkeypatch):
    """Modules of the original's names, to write pickles that name them; gone again before anything is read."""
    made = types.ModuleType("multi_modules")

    class MultiNetwork(torch.nn.Module):
        pass

    class MultiNetworkLinear(torch.nn.Module):
        pass

    class Node:
        pass

    for kind in (MultiNetwork, MultiNetworkLinear):
        kind.__module__, kind.__qualname__ = "multi_modules", kind.__name__
        setattr(made, kind.__name__, kind)
    Node.__module__, Node.__qualname__ = "__main__", "Node"
    monkeypatch.setitem(sys.modules, "multi_modules", made)
    monkeypatch.setattr(sys.modules["__main__"], "Node", Node, raising=False)
    return MultiNetwork, MultiNetworkLinear, Node


def distilled(original_modules, state: OrderedDict) -> dict:
    MultiNetwork, MultiNetworkLinear, Node = original_modules
    cell = (BOX[1] - BOX[0]) / RESOLUTION
    nodes = []
    for number, index in enumerate(np.ndindex(RESOLUTION)):
        network = MultiNetwork()
        network.activation = torch.nn.ReLU()
        network.pts_linears = torch.nn.ModuleList([MultiNetworkLinear(), MultiNetworkLinear()])
        for name in ("direction_layer", "feature_linear", "alpha_linear", "rgb_linear"):
            setattr(network, name, MultiNetworkLinear())
        for name in LAYER_SHAPES:
            layer = network.get_submodule(name)
            for kind in ("bias", "weight"):
                setattr(layer, kind, torch.nn.Parameter(state[f"{name}.{kind}"][number : number + 1].clone()))
        node = Node()
        node.domain_min = (BOX[0] + cell * index).tolist()
        node.domain_max = (BOX[0] + cell * (np.asarray(index) + 1)).tolist()
        node.network = network
        nodes.append(node)
    return {"fitted_volume": 1.0, "root_nodes": nodes, "nodes_to_process": deque(), "phase": "discovery"}


def test_distilled(files, original_modules, monkeypatch):
    state = tensors(transposed=True)
    torch.save(distilled(original_modules, state), files.checkpoint)
    monkeypatch.undo()  # the original's modules are gone now
    for path in files.folder.glob("distill.yaml"):
        path.unlink()  # the resolution follows from the nodes' boxes
    scene = files.load(dtype="float32", keep_empty=True)
    assert scene.resolution == RESOLUTION
    assert scene.provenance["layout"] == "distilled"
    for name, tensor in state.items():
        expected = tensor.numpy()
        np.testing.assert_array_equal(
            scene.layers[name], expected.transpose(0, 2, 1) if expected.ndim == 3 else expected
        )


def test_distilled_files_that_do_not_fit_are_refused(files, original_modules):
    whole = distilled(original_modules, tensors(transposed=True))

    def refused(message: str) -> None:
        torch.save(whole, files.checkpoint)
        with pytest.raises(CheckpointError, match=message) as caught:
            files.load()
        assert "\n" not in str(caught.value)

    node = whole["root_nodes"][5]
    lower, network = node.domain_min, node.network
    node.domain_min = [0.1, *lower[1:]]
    refused("network 5: expected the cell")
    node.domain_min = "corner"
    refused(r"root_nodes\[5\]: domain_min: expected three numbers")
    node.domain_min = lower
    del node.network
    refused(r"root_nodes\[5\]: expected a node with its network, got one without \(an unfinished distillation\)")
    node.network = network
    network.nonlinearity = "leaky_relu"
    refused("nonlinearity 'leaky_relu'")
    del network.nonlinearity
    node.leq_child = node.gt_child = None
    refused("an adaptive tree")
    whole["root_nodes"] = []
    refused("root_nodes: expected a list of nodes")


# ---- what is refused


class Malicious:
    """What runs when this is unpickled creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("where", ["a state", "a rest", "a node", "a bare pickle", "the occupancy"])
def test_a_malicious_pickle_is_refused_and_does_not_run(where, files, tmp_path):
    trap = Malicious(tmp_path / "trapped")
    content = {
        "a state": {"model_state_dict": OrderedDict(tensors(), extra=trap)},
        "a rest": {"model_state_dict": tensors(), "optimizer_state_dict": trap},
        "a node": {"root_nodes": [trap]},
        "a bare pickle": trap,
        "the occupancy": [torch.ones(8, 12, 16, dtype=torch.bool), trap],
    }[where]
    target = files.occupancy if where == "the occupancy" else files.checkpoint
    if where == "a bare pickle":
        target.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, target)
    with pytest.raises(CheckpointError) as caught:
        files.load()
    assert not (tmp_path / "trapped").exists()
    assert "\n" not in str(caught.value)
    if where != "a bare pickle":
        assert "refused, nothing in it was run: it names " in str(caught.value)
    pickle.loads(pickle.dumps(trap))  # noqa: S301 - the trap is a trap: an ordinary reader would have run it
    assert (tmp_path / "trapped").exists()


@pytest.mark.parametrize("call", ["os.system", "builtins.eval", "builtins.getattr", "torch.load", "torch.hub.load"])
def test_no_stand_in_leads_to_a_callable(call, tmp_path):
    """Whatever the pickle names apart from original KiloNeRF's classes is refused by name."""
    module, name = call.rsplit(".", 1)
    code = b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"X\x01\x00\x00\x00a\x85R."
    torch.save({}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as source, zipfile.ZipFile(tmp_path / "b.pth", "w") as target:
        for entry in source.infolist():
            target.writestr(entry, code if entry.filename.endswith("data.pkl") else source.read(entry))
    with pytest.raises(CheckpointError, match="refused, nothing in it was run"):
        read_torch_file(tmp_path / "b.pth")


def test_broken_files_are_refused(files, tmp_path):
    good = files.checkpoint.read_bytes()
    for cut in (0, 1, 100, len(good) // 2, len(good) - 1):
        files.checkpoint.write_bytes(good[:cut])
        with pytest.raises(CheckpointError, match=r"checkpoint.pth: expected a file written by torch.save") as caught:
            files.load()
        assert "\n" not in str(caught.value)
    files.checkpoint.write_bytes(np.random.default_rng(0).bytes(1000))
    with pytest.raises(CheckpointError, match=r"expected a file written by torch.save"):
        files.load()
    files.checkpoint.unlink()
    with pytest.raises(CheckpointError, match=r"checkpoint.pth: expected a file, got nothing there"):
        files.load()
    files.checkpoint.mkdir()
    with pytest.raises(CheckpointError, match=r"checkpoint.pth: expected a file, got a folder"):
        files.load()


@pytest.mark.parametrize("package", ["torch", "yaml"])
def test_a_missing_package_is_named_with_its_cure(package, files, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        CheckpointError, match=r"needs (torch|PyYAML) to be read: pip install 'kilonerf-view\[import\]'"
    ):
        files.load()


def without(name: str) -> OrderedDict:
    return OrderedDict((key, tensor) for key, tensor in tensors().items() if not key.startswith(name))


STATES = {
    "a teacher": ({"views_linears.0.weight": torch.zeros(128, 283)}, "got a teacher"),
    "view-independent colour": (without("alpha_linear"), "use_view_independent_color"),
    "a missing tensor": (without("rgb_linear.bias"), r"got missing \['rgb_linear.bias'\]"),
    "a tensor too many": (tensors() | {"pts_linears.2.bias": torch.zeros(24, 32)}, r"unknown \['pts_linears.2.bias'\]"),
    "wider layers": (tensors() | {"pts_linears.0.weight": torch.zeros(24, 63, 64)}, r"of shape \[24, 63, 64\]"),
    "fewer networks in one": (tensors() | {"rgb_linear.bias": torch.zeros(23, 3)}, r"of shape \[23, 3\]"),
    "a skip connection": (tensors() | {"pts_linears.1.weight": torch.zeros(24, 95, 32)}, r"of shape \[24, 95, 32\]"),
    "whole numbers": (tensors() | {"rgb_linear.bias": torch.zeros(24, 3, dtype=torch.int64)}, "floating-point"),
    "no tensor": (tensors() | {"rgb_linear.bias": 3}, "rgb_linear.bias: expected a tensor, got int"),
    "another count": (tensors(23), "expected a grid of 23 networks"),
}


@pytest.mark.parametrize("name", STATES)
def test_other_layouts_are_refused_in_one_line(name, files):
    state, message = STATES[name]
    files.state(state)
    with pytest.raises(CheckpointError, match=message) as caught:
        files.load()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[], {"weights": 1}, torch.zeros(3)], ids=["list", "dict", "tensor"])
def test_other_torch_files_are_refused(content, files):
    torch.save(content, files.checkpoint)
    with pytest.raises(CheckpointError, match=r"expected 'model_state_dict' \(fine-tuned\) or 'root_nodes'"):
        files.load()


def test_weights_that_are_no_numbers_are_refused(files):
    state = tensors()
    state["alpha_linear.weight"][3, 2, 0] = torch.nan
    files.state(state)
    with pytest.raises(SceneError, match=r"checkpoint.pth: alpha_linear.weight: expected finite numbers, got 1"):
        files.load()
    state["alpha_linear.weight"][3, 2, 0] = 1e6
    files.state(state)
    with pytest.raises(SceneError, match=r"expected numbers up to 65504.* \(save as float32\)"):
        files.load()
    assert files.load(dtype="float32").dtype == np.float32


def test_a_wrong_occupancy_is_refused(files):
    for wrong, message in {
        torch.zeros(8, 12, 18, dtype=torch.bool): r"expected a resolution that is a whole multiple .* \[2, 3, 4\]",
        torch.zeros(8, 12, dtype=torch.bool): r"expected a bool tensor \[ox, oy, oz\], got bool \[8, 12\]",
        torch.zeros(8, 12, 16): r"got float32 \[8, 12, 16\]",
        "text": "got str",
    }.items():
        torch.save(wrong, files.occupancy)
        with pytest.raises(CheckpointError, match=rf"occupancy.pth: .*{message}"):
            files.load()


@pytest.mark.parametrize("text", ["", "1 2 3", "a b c d e f", "0 0 0 1 1 nan", "0 0 0 1 1 1 1 1"])
def test_a_wrong_box_file_is_refused(text, files):
    files.bbox.write_text(text)
    with pytest.raises(CheckpointError, match=r"bbox.txt: expected six numbers"):
        files.load()


def test_a_box_inside_out_is_refused(files):
    files.bbox.write_text("1 1 1 0 0 0")
    with pytest.raises(SceneError, match="aabb: expected aabb_min < aabb_max"):
        files.load()


def test_what_cannot_be_found_is_asked_for(files):
    (files.folder / "near_and_far.txt").unlink()
    with pytest.raises(CheckpointError, match=r"near, far: .* give --near and --far"):
        files.load()
    (files.folder / "near_and_far.txt").write_text("two six")
    with pytest.raises(DatasetError, match=r"near_and_far.txt: expected numbers"):
        files.load()
    (files.folder / "finetune.yaml").unlink()
    with pytest.raises(CheckpointError, match=r"num_samples: .* give --samples"):
        files.load(near=2.0, far=6.0)


YAMLS = {
    "wider layers": ({"discovery": {"hidden_layer_size": 64}}, "hidden_layer_size: expected 32, got 64"),
    "a skip connection": ({"discovery": {"refeed_position_index": 1}}, "refeed_position_index: expected None, got 1"),
    "no sigmoid": ({"no_color_sigmoid": True}, "no_color_sigmoid: expected False, got True"),
    "a resolution of text": ({"fixed_resolution": "2 3 4"}, "fixed_resolution: expected three whole numbers"),
    "a resolution of 0": ({"fixed_resolution": [0, 3, 4]}, "fixed_resolution: expected three whole numbers"),
    "near of text": ({"near": "close"}, "near: expected a finite number"),
    "a tight domain": ({"render": {"tight_domain_min": [0, 0, 0]}}, "tight_domain_min is not supported"),
}


@pytest.mark.parametrize("name", YAMLS)
def test_wrong_yamls_are_refused(name, files):
    content, message = YAMLS[name]
    files.yaml("distill", **{"fixed_resolution": list(RESOLUTION)} | content)
    with pytest.raises(CheckpointError, match=message):
        files.load()


def test_yamls_that_contradict_or_cannot_be_read_are_refused(files):
    files.yaml("another", fixed_resolution=[4, 3, 2])
    with pytest.raises(CheckpointError, match=r"fixed_resolution: expected one value, got several .*--config"):
        files.load()
    assert files.load(config=files.folder / "distill.yaml", num_samples=48).resolution == RESOLUTION
    (files.folder / "another.yaml").write_text("a: [1")
    with pytest.raises(CheckpointError, match=r"another.yaml: expected yaml"):
        files.load()
    (files.folder / "another.yaml").write_text("a: !!python/object/apply:os.system ['true']")
    with pytest.raises(CheckpointError, match=r"another.yaml: expected yaml"):
        files.load()
    with pytest.raises(CheckpointError, match="nowhere: expected a yaml or a folder"):
        files.load(config=files.folder / "nowhere")


# ---- files that the original code wrote


@pytest.fixture(scope="module")
def toy(shared_data):
    folder = shared_data / "kilonerf_toy"

    def load(stage: str, name: str, **changes):
        return import_checkpoint(
            folder / "logs" / "paper" / stage / "Synthetic_NeRF_Toy" / f"{name}.pth",
            occupancy=folder / "logs" / "paper" / "pretrain_occupancy" / "Synthetic_NeRF_Toy" / "occupancy.pth",
            bbox=folder / "data_Toy" / "bbox.txt",
            **changes,
        )

    return load, np.load(folder / "oracle.npz")


@pytest.mark.parametrize(
    ("stage", "name"),
    [("finetune", "checkpoint_0000001"), ("finetune_boosted", "checkpoint_0000001"), ("distill", "checkpoint")],
)
def test_the_toys_checkpoints(toy, stage, name):
    load, oracle = toy
    scene = load(stage, name, dtype="float32", keep_empty=True)
    assert scene.resolution == tuple(oracle["fixed_resolution"])
    assert (scene.near, scene.far, scene.num_samples) == (2.0, 6.0, 48)
    np.testing.assert_array_equal(scene.occupancy, oracle["occupancy"])
    np.testing.assert_array_equal(scene.aabb_min, oracle["global_min"])
    np.testing.assert_array_equal(scene.aabb_max, oracle["global_max"])
    # The network of a cell is the one that the original has for that domain.
    cells = np.stack(np.unravel_index(np.arange(24), scene.resolution), axis=-1)
    np.testing.assert_allclose(scene.aabb_min + cells * scene.cell_size, oracle["domain_mins"], atol=1e-6)
    np.testing.assert_allclose(scene.aabb_min + (cells + 1) * scene.cell_size, oracle["domain_maxs"], atol=1e-6)
    np.testing.assert_array_equal(scene.network_index[tuple(cells.T)], np.arange(24))


def test_the_toy_was_fine_tuned_from_its_distilled_networks(toy):
    """One step of fine-tuning moves little, so both importers must give nearly the same weights."""
    load, _ = toy
    fine = load("finetune", "checkpoint_0000001", dtype="float32", keep_empty=True)
    rough = load("distill", "checkpoint", dtype="float32", keep_empty=True)
    for name in fine.layers:
        np.testing.assert_allclose(fine.layers[name], rough.layers[name], atol=5e-3)
        assert np.abs(fine.layers[name]).max() > 0.01


def test_the_toys_teacher_is_refused(toy):
    with pytest.raises(CheckpointError, match="got a teacher"):
        toy[0]("pretrain", "checkpoint_0000001")


def test_the_chair(shared_data, chair_path):
    from kilonerf.model_io import load_scene

    folder = shared_data / "chair_kilonerf"
    scene = import_checkpoint(
        folder / "finetune" / "checkpoint_final.pth", occupancy=folder / "occupancy.pth", bbox=folder / "bbox.txt"
    )
    assert (scene.resolution, scene.num_networks) == ((11, 11, 16), 541)
    assert (scene.near, scene.far, scene.num_samples) == (2.0, 6.0, 384)
    assert int(scene.occupancy.sum()) == 649_612
    shipped = load_scene(chair_path)
    np.testing.assert_array_equal(shipped.occupancy, scene.occupancy)
    np.testing.assert_array_equal(shipped.network_index, scene.network_index)
    for name, array in scene.layers.items():
        np.testing.assert_array_equal(shipped.layers[name], array)
