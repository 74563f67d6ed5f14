import itertools
import sys
import types
import zipfile
from collections import OrderedDict, deque

import numpy as np
import pytest

from kilonerf.model_io import LAYER_SHAPES, CheckpointError, import_checkpoint
from kilonerf.model_io.original.checkpoint import three_quarter_view
from kilonerf.model_io.original.restricted_pickle import read_torch_file
from kilonerf.model_io.scene.box import Box
from support.original_files import BOX, CELLS, EMPTY_CELL, RESOLUTION, tensors

torch = pytest.importorskip("torch")
yaml = pytest.importorskip("yaml")


# ---- what is imported


def test_fine_tuned(files):
    state = tensors()
    files.state(state)
    scene = files.load(dtype="float32", keep_empty=True)
    np.testing.assert_array_equal(scene.network_index, np.arange(CELLS).reshape(RESOLUTION))  # x-major
    for name, tensor in state.items():
        np.testing.assert_array_equal(scene.layers[name], tensor.numpy())
    np.testing.assert_array_equal(scene.box_min, np.float32(BOX[0]))
    np.testing.assert_array_equal(scene.box_max, np.float32(BOX[1]))
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
    assert files.load().box_max.tolist() == [1, 1, 1]


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
    camera = three_quarter_view(Box(*box))
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
    np.testing.assert_array_equal(scene.box_min, oracle["global_min"])
    np.testing.assert_array_equal(scene.box_max, oracle["global_max"])
    # The network of a cell is the one that the original has for that domain.
    cells = np.stack(np.unravel_index(np.arange(24), scene.resolution), axis=-1)
    np.testing.assert_allclose(scene.box_min + cells * scene.cell_size, oracle["domain_mins"], atol=1e-6)
    np.testing.assert_allclose(scene.box_min + (cells + 1) * scene.cell_size, oracle["domain_maxs"], atol=1e-6)
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


def test_the_chair(shared_data):
    folder = shared_data / "chair_kilonerf"
    scene = import_checkpoint(
        folder / "finetune" / "checkpoint_final.pth", occupancy=folder / "occupancy.pth", bbox=folder / "bbox.txt"
    )
    assert (scene.resolution, scene.num_networks) == ((11, 11, 16), 541)
    assert (scene.near, scene.far, scene.num_samples) == (2.0, 6.0, 384)
    assert int(scene.occupancy.sum()) == 649_612


def test_numpy_scalars_are_read_as_numbers(files):
    """As written by a training loop that keeps its losses and counters in NumPy."""
    content = {"global_step": np.int64(7), "loss": np.float64(0.25), "model_state_dict": tensors()}
    torch.save(content, files.checkpoint)
    read = read_torch_file(files.checkpoint)
    assert (read["global_step"], read["loss"]) == (7, 0.25)
    assert files.load().provenance["global_step"] == 7


def test_a_state_of_data_parallel_is_the_same_state(files):
    before = files.load()
    files.state({f"module.{name}": tensor for name, tensor in torch.load(files.checkpoint)["model_state_dict"].items()})
    after = files.load()
    for name, layer in before.layers.items():
        assert np.array_equal(after.layers[name], layer)


def test_bfloat16_weights_are_read(files):
    state = OrderedDict((name, tensor.to(torch.bfloat16)) for name, tensor in tensors().items())
    files.state(state)
    scene = files.load(dtype="float32")
    assert np.array_equal(scene.layers["rgb_linear.bias"][-1], state["rgb_linear.bias"][-1].float().numpy())
