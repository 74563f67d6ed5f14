"""Colour and density at points, by query.cu: points are sorted by their network, and a block takes those of one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io.scene.cells import Cells

from .device import CudaDevice, DeviceArray, DeviceKernel
from .memory import DeviceMemory

THREADS = 256  # as in query.cu
POINTS_AT_ONCE = 1 << 22  # bounds the memory of a query to 160 MiB
BATCH = np.dtype([("network", "<i4"), ("first", "<i4"), ("count", "<i4")])


def query_points(
    levels: Sequence[Cells],
    points: NDArray[np.float32],  # [P, 3]
    directions: NDArray[np.float32],  # [P, 3]
    kernel: DeviceKernel,
    networks: DeviceArray,
    device: CudaDevice,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Colour [P, 3] after the sigmoid and density [P] after the ReLU; 0 outside occupied space.

    Raises:
        BackendError: the device lacks memory.
    """
    rgb = np.zeros((len(points), 3), np.float32)
    density = np.zeros(len(points), np.float32)
    for begin in range(0, len(points), POINTS_AT_ONCE):
        part = slice(begin, begin + POINTS_AT_ONCE)
        found, network, local = _located(levels, points[part])
        if not len(found):
            continue
        result = _evaluate(network, local, directions[part][found], kernel, networks, device)
        rgb[begin + found], density[begin + found] = result[:, :3], result[:, 3]
    return rgb, density


def _located(
    levels: Sequence[Cells], points: NDArray[np.float32]
) -> tuple[NDArray[np.intp], NDArray[np.int32], NDArray[np.float32]]:
    """Which points lie in occupied space, sorted by network, and each one's network and place in its cell [., 3]."""
    parts: list[tuple[NDArray[np.intp], NDArray[np.int32], NDArray[np.float32]]] = []
    for cells in levels:
        network, place = cells.networks_at(points)
        found = np.flatnonzero(network >= 0)
        parts.append((found, network[found], cells.local(points[found], place[found])))
    found, network, local = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(network, kind="stable")
    return found[order], network[order], np.ascontiguousarray(local[order], np.float32)


def _evaluate(
    network: NDArray[np.int32],
    local: NDArray[np.float32],
    directions: NDArray[np.float32],
    kernel: DeviceKernel,
    networks: DeviceArray,
    device: CudaDevice,
) -> NDArray[np.float32]:
    """Red, green, blue and density [., 4] of points that are sorted by network."""
    memory = DeviceMemory(device)
    runs = batches(network)
    memory.require(runs.nbytes + 10 * 4 * len(network), f"a query of {len(network)} points")
    result = memory.allocate((len(network), 4), np.float32, "query result")
    arguments = (
        memory.upload(runs, "query batches"),
        networks,
        memory.upload(local, "query points"),
        memory.upload(np.ascontiguousarray(directions), "query directions"),
        result,
    )
    kernel.launch(len(runs), THREADS, arguments)
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
