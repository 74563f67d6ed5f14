"""Colour and density at points, by query.cu: points are sorted by their cell, and a block takes those of one."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import OctreeScene, Scene
from kilonerf.model_io.scene.cells import Cells

from ..native.grid import native_grid
from .device import CudaDevice, DeviceArray, DeviceKernel
from .memory import DeviceMemory, pointers

THREADS = 256  # as in scene.cuh
POINTS_AT_ONCE = 1 << 22  # bounds the memory of a query to 176 MiB
BATCH = np.dtype([("network", "<i4"), ("first", "<i4"), ("count", "<i4")])
RAY_BITS = 0x4B000000  # of ray 0, as ray_bits in scene.cuh


def query_points(
    scene: Scene,
    points: NDArray[np.float32],  # [P, 3]
    directions: NDArray[np.float32],  # [P, 3]
    kernel: DeviceKernel,
    field: Sequence[DeviceArray],
    blocks: int,
    device: CudaDevice,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Colour [P, 3] after the sigmoid and density [P] after the ReLU; 0 outside occupied space.

    Args:
        scene: what is asked for.
        points: where.
        directions: unit vectors.
        kernel: ``query``.
        field: its ``Evaluator::Arrays``.
        blocks: the most that it may be launched with.
        device: where.

    Raises:
        BackendError: the device lacks memory.
    """
    rgb = np.zeros((len(points), 3), np.float32)
    density = np.zeros(len(points), np.float32)
    places = _places_in_voxels if isinstance(scene, OctreeScene) else _places_in_cells
    for begin in range(0, len(points), POINTS_AT_ONCE):
        part = slice(begin, begin + POINTS_AT_ONCE)
        found, network, local = _located(scene.levels, points[part], places)
        if not len(found):
            continue
        result = _evaluate(network, local, directions[part][found], kernel, field, blocks, device)
        rgb[begin + found], density[begin + found] = result[:, :3], result[:, 3]
    return rgb, density


def _located(
    levels: Sequence[Cells], points: NDArray[np.float32], places: Callable[..., NDArray[np.float32]]
) -> tuple[NDArray[np.intp], NDArray[np.int32], NDArray[np.float32]]:
    """Which points lie in occupied space, sorted by network, and each one's network and ``Sample`` [., 4]."""
    parts: list[tuple[NDArray[np.intp], NDArray[np.int32], NDArray[np.float32]]] = []
    for cells in levels:
        network, place = cells.networks_at(points)
        found = np.flatnonzero(network >= 0)
        parts.append((found, network[found], places(cells, points[found], place[found])))
    found, network, local = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(network, kind="stable")
    return found[order], network[order], np.ascontiguousarray(local[order], np.float32)


def _places_in_cells(cells: Cells, points: NDArray[np.float32], place: NDArray[np.int32]) -> NDArray[np.float32]:
    """Points [., 3] of cells [., 3] as samples of tiny networks, [., 4]."""
    samples = np.empty((len(points), 4), np.float32)
    samples[:, :3] = cells.local(points, place)
    samples.view(np.int32)[:, 3] = RAY_BITS
    return samples


def _places_in_voxels(cells: Cells, points: NDArray[np.float32], place: NDArray[np.int32]) -> NDArray[np.float32]:
    """The same as samples of an octree field: their place in a voxel, and its bit in the cell."""
    voxels = (points - cells.box.min) * cells.inverse_voxel
    whole = voxels.astype(np.int32)
    bit = np.left_shift(whole - place * cells.factor, native_grid(cells)["voxel_shift"]).sum(axis=1)
    samples = np.empty((len(points), 4), np.float32)
    samples[:, :3] = voxels - whole.astype(np.float32)
    samples.view(np.int32)[:, 3] = RAY_BITS | bit << 8
    return samples


def _evaluate(
    network: NDArray[np.int32],
    samples: NDArray[np.float32],
    directions: NDArray[np.float32],
    kernel: DeviceKernel,
    field: Sequence[DeviceArray],
    blocks: int,
    device: CudaDevice,
) -> NDArray[np.float32]:
    """Red, green, blue and density [., 4] of points that are sorted by network."""
    memory = DeviceMemory(device)
    runs = batches(network)
    memory.require(runs.nbytes + 11 * 4 * len(network), f"a query of {len(network)} points")
    result = memory.allocate((len(network), 4), np.float32, "query result")
    arguments = (
        memory.upload(runs, "query batches"),
        np.int32(len(runs)),
        pointers(field),
        memory.upload(samples, "query points"),
        memory.upload(np.ascontiguousarray(directions), "query directions"),
        result,
    )
    kernel.launch(min(len(runs), blocks), THREADS, arguments)
    return device.download([result])[0]


def batches(networks: NDArray[np.integer]) -> NDArray[np.void]:
    """Runs of one network in a sorted list, at most ``THREADS`` long, as ``BATCH`` [.]."""
    starts = np.flatnonzero(np.diff(networks, prepend=-1))
    lengths = np.diff(starts, append=len(networks))
    counts: NDArray[np.int64] = -(-lengths // THREADS)
    number: NDArray[np.int64] = np.arange(int(counts.sum())) - np.repeat(
        np.cumsum(counts) - counts, counts
    )  # of a batch in its run
    runs = np.zeros(len(number), BATCH)
    runs["first"] = np.repeat(starts, counts) + number * THREADS
    runs["count"] = np.minimum(THREADS, np.repeat(starts + lengths, counts) - runs["first"])
    runs["network"] = networks[runs["first"]]
    return runs
