"""Kernels that are wrong in one way: the SIMT host must say so, and must not say so of the right ones."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simt.simt_host import (
    DeadlockError,
    MemoryAccessError,
    RaceError,
    SimtError,
    SimtModule,
    Surface,
    TrapError,
    UninitialisedError,
)

SOURCE = Path(__file__).parent / "device" / "faults.cu"
ORDERS = ["ascending", "descending", 1]


@pytest.fixture(scope="module")
def plain() -> SimtModule:
    return SimtModule(SOURCE)


@pytest.fixture(scope="module")
def checked() -> SimtModule:
    return SimtModule(SOURCE, checked=True)


def line_of(text: str, kernel: str) -> int:
    """The line of the first occurrence of ``text`` after the kernel's name in the source."""
    lines = SOURCE.read_text().splitlines()
    begin = next(i for i, line in enumerate(lines) if re.search(rf"\b{kernel}\(", line))
    return next(i for i in range(begin, len(lines)) if text in lines[i]) + 1


RACES: dict[str, tuple[int, int, Callable[[], list[Any]]]] = {  # blocks, threads, arguments before `right`
    "barrier_race": (1, 64, lambda: [np.arange(64, dtype=np.float32)]),
    "reuse_race": (1, 64, lambda: [np.arange(64, dtype=np.int32)]),
    "warp_race": (1, 64, lambda: [np.arange(64, dtype=np.int32)]),
    "cross_warp_race": (1, 64, lambda: [np.arange(64, dtype=np.int32)]),
    "counter_race": (1, 64, lambda: [np.zeros(1, np.int32)]),
    "atomic_and_plain_race": (1, 64, lambda: [np.zeros(1, np.int32)]),
    "block_race": (3, 32, lambda: [np.zeros(3, np.int32)]),
    "last_block": (3, 32, lambda: [np.zeros(96, np.int32), np.zeros(1, np.int32), np.zeros(1, np.int32)]),
    "ticket_race": (3, 32, lambda: [np.zeros(1, np.int32)]),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kernel", RACES)
def test_simt_race_is_found(checked: SimtModule, kernel: str, order: str | int) -> None:
    blocks, threads, arguments = RACES[kernel]
    # Where the write comes first the missing barrier can also show as a read of what nobody wrote yet.
    with pytest.raises((RaceError, UninitialisedError)):
        checked.launch(kernel, (blocks,), (threads,), [*arguments(), np.int32(0)], order=order)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kernel", RACES)
def test_simt_no_race_is_invented(checked: SimtModule, kernel: str, order: str | int) -> None:
    blocks, threads, arguments = RACES[kernel]
    checked.launch(kernel, (blocks,), (threads,), [*arguments(), np.int32(1)], order=order)


def test_simt_last_block_reads_what_all_wrote(checked: SimtModule) -> None:
    total = np.zeros(1, np.int32)
    args = [np.zeros(96, np.int32), np.zeros(1, np.int32), total, np.int32(1)]
    checked.launch("last_block", (3,), (32,), args)
    assert total[0] == 3 * sum(range(32))


def test_simt_race_names_both_places(checked: SimtModule) -> None:
    with pytest.raises(RaceError) as caught:
        checked.launch("reuse_race", (1,), (64,), [np.zeros(64, np.int32), np.int32(0)])
    text = str(caught.value)
    assert "shared variable reuse_race::tile" in text
    assert f"faults.cu:{line_of('tile[threadIdx.x] =', 'reuse_race')} in reuse_race" in text
    assert f"faults.cu:{line_of('sum += tile', 'reuse_race')} in reuse_race" in text
    assert len(set(re.findall(r"thread (\d+)", text))) == 2


@pytest.mark.parametrize("at", [4, 5, 700, -1])
def test_simt_write_out_of_bounds_is_found_by_guards(plain: SimtModule, at: int) -> None:
    values = np.zeros(4, np.int32)
    with pytest.raises(MemoryAccessError, match=rf"wrote at offset {4 * at} of argument 0, which has 16 bytes"):
        plain.launch("write_global", (1,), (1,), [values, np.zeros(1, np.int32), np.int32(at)])
    assert not values.any()
    plain.launch("write_global", (1,), (1,), [values, np.zeros(1, np.int32), np.int32(3)])
    assert values.tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("at", [4, -1, 100, 5 * 10**8])  # the last one: 2 GB away, where no other array can be
def test_simt_access_out_of_bounds(checked: SimtModule, at: int) -> None:
    values, out = np.zeros(4, np.int32), np.zeros(1, np.int32)
    where = "far from all" if at > 100 else f"offset {4 * at} of argument 0"
    for kernel, args in (("write_global", [values, out]), ("read_global", [values, out]), ("atomic_global", [values])):
        with pytest.raises(MemoryAccessError, match=f"out of bounds: thread 0 .*{where}.* at faults.cu:"):
            checked.launch(kernel, (1,), (1,), [*args, np.int32(at)])
        checked.launch(kernel, (1,), (1,), [*args, np.int32(2)])


def test_simt_atomic_out_of_bounds_without_checks(plain: SimtModule) -> None:
    with pytest.raises(MemoryAccessError, match="updates atomically"):
        plain.launch("atomic_global", (1,), (1,), [np.zeros(4, np.int32), np.int32(4)])


def test_simt_read_only_array(checked: SimtModule) -> None:
    values = np.zeros(4, np.int32)
    values.flags.writeable = False
    checked.launch("read_global", (1,), (1,), [values, np.zeros(1, np.int32), np.int32(0)])
    with pytest.raises(MemoryAccessError, match="read-only"):
        checked.launch("write_global", (1,), (1,), [values, np.zeros(1, np.int32), np.int32(0)])


def test_simt_null_pointer(checked: SimtModule) -> None:
    with pytest.raises(MemoryAccessError):
        checked.launch("write_global", (1,), (1,), [None, np.zeros(1, np.int32), np.int32(0)])


@pytest.mark.parametrize(
    ("kernel", "args", "good", "bad"),
    [
        ("write_member", [np.zeros(8, np.int32)], 7, 8),
        ("write_shared", [np.zeros(1, np.int32)], 63, 64),
        ("write_shared", [np.zeros(1, np.int32)], 0, -1),
        ("write_dynamic", [], 15, 16),
        ("write_dynamic", [], 0, -1),
        ("local_array", [np.zeros(1, np.int32)], 3, 4),
        ("misaligned", [np.zeros(8, np.float32)], 2, 1),
    ],
)
def test_simt_shared_and_local_out_of_bounds(
    checked: SimtModule, kernel: str, args: list[Any], good: int, bad: int
) -> None:
    checked.launch(kernel, (1,), (1,), [*args, np.int32(good)], shared_mem=64)
    with pytest.raises(MemoryAccessError, match=r"at faults\.cu:\d+ in"):
        checked.launch(kernel, (1,), (1,), [*args, np.int32(bad)], shared_mem=64)


def test_simt_local_memory_is_private(checked: SimtModule) -> None:
    with pytest.raises(MemoryAccessError, match=r"thread \d+ reads a local variable of thread 0"):
        checked.launch("other_threads_local", (1,), (2,), [np.zeros(2, np.int32)])


@pytest.mark.parametrize(("x", "y"), [(40, 0), (-4, 0), (0, 7), (0, -1), (2, 0)])
def test_simt_surface_out_of_bounds(plain: SimtModule, x: int, y: int) -> None:
    surface = Surface(7, 10)
    plain.launch("surface_bounds", (1,), (1,), [surface.handle, np.int32(36), np.int32(6)])
    assert surface.pixels[6, 9].tolist() == [1, 2, 3, 4]
    with pytest.raises(MemoryAccessError, match="surf2Dwrite"):
        plain.launch("surface_bounds", (1,), (1,), [surface.handle, np.int32(x), np.int32(y)])


def test_simt_uninitialised_shared_memory(plain: SimtModule, checked: SimtModule) -> None:
    out = np.zeros(32, np.float32)
    plain.launch("uninitialised", (1,), (32,), [out, np.int32(0)])
    assert np.isnan(out).all()
    for module in (plain, checked):
        module.launch("uninitialised", (1,), (32,), [out, np.int32(1)])
        assert (out == 1).all()
    with pytest.raises(UninitialisedError, match=r"shared variable uninitialised::sums"):
        checked.launch("uninitialised", (1,), (32,), [out, np.int32(0)])


def test_simt_shared_memory_does_not_outlive_its_block(plain: SimtModule, checked: SimtModule) -> None:
    out = np.zeros(2, np.int32)
    plain.launch("from_last_block", (2,), (1,), [out])
    assert out[0] == 7
    assert out[1] < -1_000_000
    with pytest.raises(UninitialisedError):
        checked.launch("from_last_block", (2,), (1,), [out])


def test_simt_copies_must_be_waited_for(plain: SimtModule, checked: SimtModule) -> None:
    values = np.arange(136, dtype=np.float32)

    def copied(module: SimtModule, how: int) -> np.ndarray:
        out = np.zeros(32, np.float32)
        module.launch("copies", (1,), (32,), [values, out, np.int32(how)])
        return out

    for module in (plain, checked):
        np.testing.assert_array_equal(copied(module, 0), 127 - np.arange(32))
        with pytest.raises(MemoryAccessError, match="misaligned"):
            copied(module, 4)
    for how in (1, 3):
        assert np.isnan(copied(plain, how)).all()  # deferred indeed
        with pytest.raises(RaceError, match="asynchronous copy not waited for"):
            copied(checked, how)
    with pytest.raises((RaceError, UninitialisedError)):
        copied(checked, 2)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("kernel", "threads", "said"),
    [
        ("half_a_barrier", 64, ["threads 0-39 waits at __syncthreads()", "threads 40-63 has returned"]),
        ("two_operations", 32, ["threads 0-15 waits at __shfl_sync(mask", "threads 16-31 waits at __ballot_sync(mask"]),
        ("barrier_and_warp", 32, ["thread 3 waits at __syncthreads()", "threads 0-2, 4-31 waits at __syncwarp(mask"]),
        ("two_masks", 32, ["threads 0-15 waits at __any_sync(mask 0xffffffff)"]),
        ("not_in_the_mask", 32, ["is not named by the mask"]),
        ("half_a_product", 32, ["threads 0-8, 10-31 waits at mma_m16n8k8", "thread 9 has returned"]),
    ],
)
def test_simt_deadlocks(plain: SimtModule, kernel: str, threads: int, said: list[str], order: str | int) -> None:
    out = np.zeros(threads, np.float32 if kernel == "half_a_product" else np.int32)
    with pytest.raises(DeadlockError) as caught:
        plain.launch(kernel, (1,), (threads,), [out], order=order)
    for part in [*said, "at faults.cu:"]:
        assert part in str(caught.value)


def test_simt_shuffle_from_a_lane_outside_of_the_mask(plain: SimtModule) -> None:
    with pytest.raises(MemoryAccessError, match="reads lane 20, which the mask does not name"):
        plain.launch("lane_out_of_mask", (1,), (32,), [np.zeros(32, np.int32)])


def test_simt_trap(plain: SimtModule) -> None:
    with pytest.raises(TrapError, match=r"thread 2 at faults\.cu"):
        plain.launch("gives_up", (1,), (4,), [])


def test_simt_a_module_goes_on_after_a_fault(plain: SimtModule) -> None:
    values = np.arange(64, dtype=np.float32)
    with pytest.raises(SimtError):
        plain.launch("half_a_barrier", (1,), (64,), [np.zeros(1, np.int32)])
    plain.launch("barrier_race", (1,), (64,), [values, np.int32(1)])
    np.testing.assert_array_equal(values, np.arange(64)[::-1])
