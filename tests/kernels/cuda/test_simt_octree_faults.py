"""The octree field's kernels with one fault each: the tests of the right ones would have found it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kilonerf.kernels import RenderOptions
from kilonerf.kernels.cuda.device import INCLUDE_FOLDERS, Defines
from kilonerf.kernels.cuda.renderer import CudaRenderer
from kilonerf.kernels.reference.renderer import ReferenceRenderer
from simt.compilation import why_unavailable
from simt.simt_device import SimtDevice, SimtKernel
from simt.simt_host import MemoryAccessError, SimtError, SimtModule, UninitialisedError
from support.fields.octree_scenes import OCTREES
from support.scenes import views

pytestmark = pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))
SCENE = OCTREES["codes"]
FIELD, TENSOR, FLOAT = "cuda/octree/field.cuh", "cuda/octree/evaluate_tensor.cuh", "cuda/octree/evaluate_float.cuh"
ERRORS: dict[str, tuple[str, str, str, type[SimtError]]] = {  # file, what is there, what is put there, what is found
    "a decoder that is not all there": (
        FIELD,
        "sizeof(Decoder), thread",
        "sizeof(Decoder) - 16, thread",
        UninitialisedError,
    ),
    "a slot too far": (FIELD, "word.voxels & (own - 1)", "word.voxels", MemoryAccessError),
}
PICTURES: dict[str, tuple[int, str, str, str]] = {  # architecture, file, what is there, what is put there
    "one corner twice": (80, FIELD, "add(row[pair] + 1,", "add(row[pair],"),
    "x and y exchanged": (70, FIELD, "(1.0f - x) * y, x * (1.0f - y)", "x * (1.0f - y), (1.0f - x) * y"),
    "features in other columns": (80, TENSOR, "features[0][0], features[0][2]", "features[0][2], features[0][0]"),
    "directions without their bias": (70, FLOAT, "Layers::start(layer.bias[part], sum)", "for (float& s : sum) s = 0"),
}


class FaultyDevice(SimtDevice):
    """Compiles from a folder of its own, and renders with the right ``render.cu`` unless that is asked for."""

    def __init__(self, architecture: int, folder: Path, faulty: str, *, checked: bool) -> None:
        super().__init__(architecture, blocks=2, checked=checked)
        self._folder, self._faulty = folder, faulty
        self.built: list[Path] = []

    def kernel(self, source: str, name: str, defines: Defines) -> SimtKernel:
        if name != self._faulty:
            return super().kernel(source, name, defines)
        folders = [self._folder / folder.name for folder in INCLUDE_FOLDERS]
        macros = {"KNF_SIMT_HOST": 10 * self.architecture, **defines}
        module = SimtModule(folders[0] / source, defines=macros, include_dirs=folders, checked=self.checked)
        self.built.append(module._library_path)
        return SimtKernel(self, module, name)


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator["Faulty"]:
    made = Faulty(tmp_path)
    yield made
    for device in made.devices:
        for library in device.built:
            library.unlink()  # no later run would use it


class Faulty:
    """Makes devices whose kernels have a fault."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.devices = folder, []
        for own in INCLUDE_FOLDERS:
            shutil.copytree(own, folder / own.name, ignore=shutil.ignore_patterns("*.py", "__pycache__", "training"))

    def device(self, file: str, old: str, new: str, *, architecture=80, kernel="query", checked=False) -> FaultyDevice:
        path = self._folder / file
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))
        self.devices.append(FaultyDevice(architecture, self._folder, kernel, checked=checked))
        return self.devices[-1]


def points_and_directions() -> tuple[np.ndarray, np.ndarray]:
    """In the voxels, also the last one."""
    voxels = SCENE.octree.voxels(SCENE.depth)
    places = np.concatenate([voxels[::9], voxels[-1:]]) + np.random.default_rng(2).random((len(voxels[::9]) + 1, 3))
    points = (SCENE.box_min + places / 2**SCENE.depth * SCENE.box.size).astype(np.float32)
    return points, np.tile(np.array([0.6, 0.0, 0.8], np.float32), (len(points), 1))


@pytest.mark.parametrize(
    "fault", [pytest.param(name, marks=[] if name == "a slot too far" else [pytest.mark.slow]) for name in ERRORS]
)
def test_simt_a_fault_is_an_error(faulty: Faulty, fault: str) -> None:
    file, old, new, error = ERRORS[fault]
    renderer = CudaRenderer(SCENE, faulty.device(file, old, new, checked=True))
    with pytest.raises(error):
        renderer.query(*points_and_directions())


@pytest.mark.parametrize(
    "fault", [pytest.param(name, marks=[pytest.mark.slow] if PICTURES[name][0] == 70 else []) for name in PICTURES]
)
def test_simt_a_fault_is_seen(faulty: Faulty, fault: str) -> None:
    architecture, *change = PICTURES[fault]
    points, directions = points_and_directions()
    expected, _ = ReferenceRenderer(SCENE).query(points, directions)
    right, _ = CudaRenderer(SCENE, SimtDevice(architecture)).query(points, directions)
    wrong, _ = CudaRenderer(SCENE, faulty.device(*change, architecture=architecture)).query(points, directions)
    assert np.abs(right - expected).max() < 0.03
    assert np.abs(wrong - expected).max() > 0.1


@pytest.mark.slow
def test_simt_rays_that_are_not_prepared_are_seen(faulty: Faulty) -> None:
    camera, options = views(SCENE)["outside"].resized(33, 18), RenderOptions(ert=False)
    expected = ReferenceRenderer(SCENE).render(camera, options)
    change = ("cuda/render.cu", "if (!rays_prepared)", "if (!rays_prepared && block.tile < 2)")
    wrong = CudaRenderer(SCENE, faulty.device(*change, kernel="render")).render(camera, options)
    assert wrong.statistics.samples == expected.statistics.samples
    np.testing.assert_allclose(wrong.rgb[:16, :32], expected.rgb[:16, :32], atol=0.02)
    assert not np.allclose(wrong.rgb, expected.rgb, atol=0.1)
