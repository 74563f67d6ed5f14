"""The native renderer as a program of its own: for code that this machine, or its extension, cannot run."""

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from kilonerf.kernels import Frame, FrameStatistics, RenderOptions
from kilonerf.kernels.native.folding import folded_layers
from kilonerf.kernels.native.grid import native_cells, native_grid, voxel_words
from kilonerf.kernels.sampling import SampleSteps, ray_origin
from kilonerf.model_io import Camera, KiloNeRFScene

KERNELS = Path(__file__).resolve().parents[2] / "kernels"
MAIN = Path(__file__).resolve().parents[1] / "kernels" / "cpu" / "other_machine.cpp"
# The flags of kernels/cpu/CMakeLists.txt, but for the optimisation.
COMMON = ["-std=gnu++17", "-Wall", "-Wextra", "-Werror", f"-I{KERNELS}", f"-I{KERNELS}/native"]
PATH = ["-DKNF_PATH=baseline", '-DKNF_PATH_NAME="baseline"', "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi"]


def compile_sources(compiler: str, folder: Path, sources: dict[Path, list[str]]) -> list[Path]:
    """Compile each source with flags of its own; returns the objects.

    Raises:
        CalledProcessError: a source does not compile, or not without a warning.
    """
    folder.mkdir(parents=True, exist_ok=True)
    objects = [folder / f"{source.stem}.o" for source in sources]
    commands = [
        [compiler, *COMMON, "-O1", *flags, "-c", str(source), "-o", str(compiled)]
        for (source, flags), compiled in zip(sources.items(), objects, strict=True)
    ]
    with ThreadPoolExecutor() as pool:
        for done in pool.map(subprocess.run, commands):
            done.check_returncode()
    return objects


def compile_renderer(compiler: str, folder: Path) -> list[Path]:
    """What all code paths share, and a main program."""
    plain = ["-ffp-contract=off"]
    march = KERNELS / "cpu" / "march"
    sources = {march / "prepare.cpp": plain, march / "renderer.cpp": plain, MAIN: []}
    octree = ["-DKNF_PATH=octree_baseline", '-DKNF_PATH_NAME="baseline"', "-DKNF_OCTREE", *PATH[2:], *plain]
    fields = {march / "march.cpp": octree, KERNELS / "cpu" / "octree" / "field.cpp": octree}
    return [
        *compile_sources(compiler, folder, sources),
        *compile_sources(compiler, folder / "octree", fields),
    ]


def compile_path(compiler: str, folder: Path, networks: str, flags: list[str]) -> list[Path]:
    """The march and the networks of one code path, under the name of the one that every machine has.

    Products and sums are fused as with -O2, which takes seven times as long for integers in wide vectors.
    """
    fusing = ["-ffp-contract=fast", "-fexpensive-optimizations"]
    sources = {
        KERNELS / "cpu" / "march" / "march.cpp": [*PATH, *flags, "-ffp-contract=off"],
        KERNELS / "cpu" / "kilonerf" / networks: [*PATH, *flags, *fusing],
    }
    return compile_sources(compiler, folder, sources)


def link(compiler: str, objects: list[Path], program: Path, *flags: str) -> Path:
    subprocess.run([compiler, *flags, "-pthread", *objects, "-o", program], check=True)
    return program


def render(command: Sequence[str], scene: KiloNeRFScene, views: Sequence[tuple[Camera, RenderOptions]]) -> list[Frame]:
    """Pictures of a scene by a program.

    Raises:
        CalledProcessError: the program fails.
    """
    data = _scene_bytes(scene) + b"".join(_view_bytes(scene, *view) for view in views)
    done = subprocess.run(list(command), input=data, capture_output=True, check=True)
    rest = done.stdout
    frames = []
    for camera, _ in views:
        pixels = camera.width * camera.height
        values = np.frombuffer(rest, np.float32, 5 * pixels)
        samples, rays_hit = np.frombuffer(rest, np.int64, 2, 20 * pixels)
        rest = rest[20 * pixels + 16 :]
        size = (camera.height, camera.width)
        statistics = FrameStatistics(
            samples=int(samples),
            evaluations=int(samples),
            rays=pixels,
            rays_hit=int(rays_hit),
            total_ms=0.0,
            stages_ms={},
            threads=2,
        )
        rgb, alpha, depth = np.split(values, [3 * pixels, 4 * pixels])
        frames.append(Frame(rgb.reshape(*size, 3), alpha.reshape(size), depth.reshape(size), statistics))
    assert not rest
    return frames


def _scene_bytes(scene: KiloNeRFScene) -> bytes:
    """What other_machine.cpp reads first."""
    words = voxel_words(scene.cells)
    parts: list[np.ndarray] = [
        native_grid(scene.cells),
        np.array([len(scene.cells.leaves), len(words), scene.num_networks], np.int32),
        native_cells(scene.cells, ess=True),
        native_cells(scene.cells, ess=False),
        words,
        *(np.asarray(layer, np.float32) for layer in folded_layers(scene.layers).values()),
    ]
    return b"".join(part.tobytes() for part in parts)


def _view_bytes(scene: KiloNeRFScene, camera: Camera, options: RenderOptions) -> bytes:
    steps = SampleSteps.of(scene, options)
    lens = [camera.fx, camera.fy, camera.cx, camera.cy, steps.near, steps.step, steps.last]
    parts = [
        np.array([camera.width, camera.height, options.ess, options.ert], np.int32),
        ray_origin(camera),
        camera.matrix[:3, :3].astype(np.float32),
        np.array([*lens, options.ert_threshold, *options.background], np.float32),
    ]
    return b"".join(part.tobytes() for part in parts)
