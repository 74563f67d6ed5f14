import pickle
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from kilonerf.model_io import CheckpointError, DatasetError, SceneError
from kilonerf.model_io.original.restricted_pickle import read_torch_file
from support.original_files import RESOLUTION, tensors

torch = pytest.importorskip("torch")
yaml = pytest.importorskip("yaml")


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
    with pytest.raises(SceneError, match="box: expected box_min < box_max"):
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
