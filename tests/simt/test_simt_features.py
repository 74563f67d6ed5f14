"""What the SIMT host offers to kernels, against NumPy and values worked out by hand."""

from pathlib import Path

import numpy as np
import pytest

from simt.simt_host import DeviceArray, SimtModule, Surface

SOURCE = Path(__file__).parent / "device" / "features.cu"
ALL = 0xFFFFFFFF


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "checked"])
def module(request: pytest.FixtureRequest) -> SimtModule:
    return SimtModule(SOURCE, checked=request.param)


@pytest.fixture(scope="module")
def random() -> np.random.Generator:
    return np.random.default_rng(7)


def multiplied(module: SimtModule, depth: int, wrong: int) -> tuple[np.ndarray, np.ndarray]:
    """The kernel's and NumPy's a @ b + c for random matrices."""
    random = np.random.default_rng(depth)
    a = random.standard_normal((16, depth)).astype(np.float16)
    b = random.standard_normal((depth, 8)).astype(np.float16)
    c = random.standard_normal((16, 8)).astype(np.float32)
    expected = a.astype(np.float64) @ b.astype(np.float64) + c
    module.launch(f"product{depth}", (1,), (32,), [a, b, c, np.int32(wrong)])
    return c, expected


@pytest.mark.parametrize("depth", [8, 16])
def test_simt_mma_is_a_matrix_product(module: SimtModule, depth: int) -> None:
    got, expected = multiplied(module, depth, wrong=0)
    np.testing.assert_allclose(got, expected, rtol=2e-7, atol=1e-6)


@pytest.mark.parametrize("depth", [8, 16])
def test_simt_mma_knows_each_lanes_place(module: SimtModule, depth: int) -> None:
    # One lane with a row of A or a column of B exchanged spoils just what depends on it.
    def spoilt(wrong: int) -> tuple[set[int], set[int]]:
        got, expected = multiplied(module, depth, wrong)
        rows, columns = np.nonzero(np.abs(got - expected) > 1e-4)
        return set(rows.tolist()), set(columns.tolist())

    assert spoilt(1)[0] == {3, 11}  # of A, lane 13 holds these rows
    assert spoilt(2)[1] == {3}  # and of B this column
    assert len(spoilt(3)[0]) == 16  # all lanes store to a neighbouring row


@pytest.mark.parametrize("depth", [8, 16])
def test_simt_mma_each_entry_of_a_and_b(module: SimtModule, depth: int) -> None:
    # Unit matrices: row i of A times column j of B, one product at a time, so that no two errors cancel.
    for k in range(depth):
        a = np.zeros((16, depth), np.float16)
        b = np.zeros((depth, 8), np.float16)
        a[:, k] = np.arange(1, 17)
        b[k] = np.arange(1, 9) * 16
        c = np.zeros((16, 8), np.float32)
        module.launch(f"product{depth}", (1,), (32,), [a, b, c, np.int32(0)])
        np.testing.assert_array_equal(c, np.outer(a[:, k], b[k]))


@pytest.mark.parametrize("mask", [ALL, 0x0000FFF1])
def test_simt_votes(module: SimtModule, mask: int) -> None:
    named = [lane for lane in range(32) if mask >> lane & 1]
    for values in (np.arange(32) % 3, np.zeros(32), np.ones(32)):
        out = np.zeros((4, 32), np.uint32)
        module.launch("votes", (1,), (32,), [values.astype(np.int32), np.uint32(mask), out])
        ballot = sum(1 << lane for lane in named if values[lane])
        assert (out[0, named] == ballot).all()
        assert (out[1, named] == int(ballot != 0)).all()
        assert (out[2, named] == int(ballot == mask)).all()
        assert out[3].sum() == len(named)


def shuffled(lane: int, by: int, width: int) -> tuple[int, int, int, int]:
    """The lanes that __shfl, _up, _down, _xor read, from the CUDA C++ Programming Guide's words."""
    begin = lane // width * width
    inside = lane - begin
    up = inside - by if inside - by >= 0 else inside
    down = inside + by if inside + by < width else inside
    xor = (lane ^ by) if (lane ^ by) < begin + width else lane
    return begin + by % width, begin + up, begin + down, xor


@pytest.mark.parametrize(("by", "width"), [(1, 32), (5, 32), (31, 32), (3, 8), (9, 8), (1, 2)])
def test_simt_shuffles(module: SimtModule, random: np.random.Generator, by: int, width: int) -> None:
    values = random.standard_normal(64).astype(np.float32)
    out = np.zeros((4, 64), np.float32)
    module.launch("shuffles", (1,), (64,), [values, np.int32(by), np.int32(width), out])
    for i in range(64):
        expected = [values[i // 32 * 32 + source] for source in shuffled(i % 32, by, width)]
        assert out[:, i].tolist() == expected, i


@pytest.mark.parametrize("threads", [1, 33, 100, 256])
@pytest.mark.parametrize("order", ["ascending", "descending", 1, 2])
def test_simt_barriers(module: SimtModule, random: np.random.Generator, threads: int, order: str | int) -> None:
    values = random.integers(-50, 50, threads, dtype=np.int32)
    out = np.zeros_like(values)
    module.launch("prefix_sum", (1,), (threads,), [values, out], order=order)
    np.testing.assert_array_equal(out, np.cumsum(values))


def test_simt_barriers_with_votes(module: SimtModule) -> None:
    for values in (np.zeros(70), np.ones(70), np.arange(70) % 7 == 0):
        out = np.zeros(3, np.int32)
        module.launch("block_votes", (1,), (70,), [values.astype(np.int32), out])
        assert out.tolist() == [int(values.any()), int(values.all()), int(values.sum())]


def test_simt_many_barriers(module: SimtModule) -> None:
    # 2.5 million switches of threads: 0.2 s by plain stack switches.
    out = np.zeros(256, np.int32)
    module.launch("many_barriers", (1,), (256,), [np.int32(10_000), out])
    assert (out == 256 * 257 // 2 + (10_000 - 256) * 256).all()


def test_simt_warps_exchange_through_shared_memory(module: SimtModule) -> None:
    values = np.arange(128, dtype=np.int32)
    out = np.zeros_like(values)
    module.launch("warp_exchange", (1,), (128,), [values, out])
    np.testing.assert_array_equal(out, values ^ 1)


def test_simt_indices_in_three_dimensions(module: SimtModule) -> None:
    grid, block = (2, 3, 2), (4, 3, 5)
    out = np.zeros((12, 60), np.int32)
    module.launch("indices", grid, block, [out])
    np.testing.assert_array_equal(out, 1000 * np.arange(12)[:, None] + np.arange(60))


SCALE = np.dtype([("tag", "i1"), ("factor", "<f4", 3), ("bias", "<u8"), ("power", "<f8")], align=True)


def test_simt_struct_by_value_with_a_pointer_in_it(module: SimtModule) -> None:
    bias = DeviceArray(np.linspace(0, 1, 8, dtype=np.float32))
    how = np.zeros((), SCALE)
    how["tag"], how["factor"], how["bias"], how["power"] = -3, (2, 3, 4), bias.data.ptr, 0.25
    values = np.arange(8, dtype=np.float32)
    module.launch("scale", (1,), (8,), [how, np.int16(-5), values])
    i = np.arange(8)
    np.testing.assert_allclose(values, i * (i % 3 + 2) + bias.get() + 0.25 - 5 + (i % 4 + 1) - 3, rtol=1e-6)


def test_simt_constants_can_be_set(module: SimtModule) -> None:
    offsets = module.get_global("offsets", np.float32, 4)
    assert offsets.tolist() == [1, 2, 3, 4]
    bias = DeviceArray(np.zeros(4, np.float32))
    how = np.zeros((), SCALE)
    how["bias"] = bias.data.ptr
    values = np.zeros(4, np.float32)
    try:
        offsets[:] = 8, 6, 4, 2
        module.launch("scale", (1,), (4,), [how, np.int16(0), values])
    finally:
        offsets[:] = 1, 2, 3, 4
    assert values.tolist() == [8, 6, 4, 2]


@pytest.mark.parametrize(
    "args",
    [
        pytest.param([], id="too few"),
        pytest.param([np.zeros(4, np.float32)], id="array for a struct"),
        pytest.param([np.zeros((), SCALE), np.int32(0), np.zeros(8, np.float32)], id="wrong size"),
        pytest.param([np.zeros((), SCALE), 0, np.zeros(8, np.float32)], id="Python number"),
    ],
)
def test_simt_arguments_are_checked(module: SimtModule, args: list[object]) -> None:
    with pytest.raises(TypeError):
        module.launch("scale", (1,), (8,), args)


def test_simt_dynamic_shared_memory(module: SimtModule) -> None:
    values = np.arange(200, dtype=np.float32).reshape(50, 4)
    expected = values[::-1].copy()
    module.get_function("reverse_dynamic")((1,), (50,), [values], shared_mem=50 * 16)
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("order", ["ascending", "descending", 3])
def test_simt_asynchronous_copies(module: SimtModule, random: np.random.Generator, order: str | int) -> None:
    values = random.standard_normal((5 * 32, 4)).astype(np.float32)
    out = np.zeros(32, np.float32)
    module.launch("pipeline", (1,), (32,), [values, out, np.int32(5), np.int32(0)], order=order)
    np.testing.assert_allclose(out, values.reshape(5, 32, 4)[:, ::-1, 0].sum(0), rtol=1e-5, atol=1e-6)


def test_simt_atomics(module: SimtModule) -> None:
    i, u, f = np.zeros(4, np.int32), np.zeros(4, np.uint32), np.zeros(1, np.float32)
    wide = np.zeros(1, np.uint64)
    module.launch("atomics", (2,), (40,), [i, u, f, wide])
    assert i.tolist() == [2 * sum(range(-10, 30)), 29, -10, 80]
    assert u[:3].tolist() == [ALL, 80, 7]
    assert 1 <= u[3] <= 40  # of the 80 threads the first that came, of the first block
    assert f[0] == 40.0
    assert wide[0] == 80 << 33


def test_simt_half_to_float_all(module: SimtModule) -> None:
    patterns = np.arange(65536, dtype=np.uint16).view(np.float16)
    out = np.zeros(65536, np.float32)
    module.launch("from_half", (1,), (64,), [patterns, out, np.int32(65536)])
    np.testing.assert_array_equal(out, patterns.astype(np.float32))
    assert (np.signbit(out) == np.signbit(patterns))[~np.isnan(patterns)].all()


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_simt_float_to_half(module: SimtModule, random: np.random.Generator) -> None:
    halves = np.arange(65536, dtype=np.uint16).view(np.float16)
    exact = halves.astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        between = (exact[:-1].astype(np.float64) + exact[1:]) / 2  # ties, exactly
    ties = between.astype(np.float32)
    around = np.concatenate([np.nextafter(ties, np.float32(np.inf)), np.nextafter(ties, np.float32(-np.inf))])
    anything = random.integers(0, 2**32, 20000, dtype=np.uint32).view(np.float32)
    near = np.array(
        [65504, 65519.99, 65520, 65536, -65520, 1e-8, 2.9e-8, 2.98023224e-8, 3e-8, np.inf, -np.inf, -0.0], np.float32
    )
    values = np.concatenate([exact, ties, around, anything, near])
    out = np.zeros(values.size, np.float16)
    module.launch("to_half", (1,), (64,), [values, out, np.int32(values.size)])
    nan = np.isnan(values)
    assert (out.view(np.uint16)[nan] == 0x7FFF).all()  # CUDA's canonical NaN
    np.testing.assert_array_equal(out.view(np.uint16)[~nan], values[~nan].astype(np.float16).view(np.uint16))


def test_simt_half_pairs(module: SimtModule, random: np.random.Generator) -> None:
    a, b = random.standard_normal((2, 500)).astype(np.float32)
    a[0], b[0], a[1], b[1] = np.nan, 1.0, -0.0, 0.0
    out = np.zeros((6, 500), np.uint32)
    module.launch("half_pairs", (1,), (32,), [a, b, out, np.int32(500)])
    x = np.stack([a, b], -1).astype(np.float16)
    y = x[:, ::-1]
    got = out.view(np.float16).reshape(6, 500, 2)
    np.testing.assert_array_equal(got[0], x)
    np.testing.assert_array_equal(got[1], np.fmin(x, y))
    np.testing.assert_array_equal(got[2], np.fmax(x, y))
    assert np.signbit(got[1][1]).all()  # the minimum of -0 and +0 is -0
    assert not np.signbit(got[2][1]).any()
    np.testing.assert_array_equal(got[3], x + y)
    np.testing.assert_array_equal(got[4], x * y)
    exact = x.astype(np.float64) * y.astype(np.float64) + x.astype(np.float64)
    np.testing.assert_array_equal(got[5], exact.astype(np.float16))


def test_simt_bit_tricks(module: SimtModule, random: np.random.Generator) -> None:
    values = random.integers(0, 2**32, 32, dtype=np.uint32)
    values[:4] = 0, 1, 0x80000000, ALL
    out = np.zeros((6, 32), np.int32)
    module.launch("bit_tricks", (1,), (32,), [values, out])
    for i, value in enumerate(map(int, values)):
        lowest = (value & -value).bit_length()
        ones = value.bit_count()
        expected = [ones, lowest, 32 - value.bit_length(), ones, lowest + 20 if value else 0, int(values.view("i4")[i])]
        assert out[:, i].tolist() == expected, hex(value)


def test_simt_fast_math_errs_as_documented(module: SimtModule, random: np.random.Generator) -> None:
    values = random.uniform(-3.14, 3.14, 2000).astype(np.float32)
    errors = []
    for scale in (0.0, 1.0):
        out = np.zeros((6, 2000), np.float32)
        args = [values, out, np.int32(2000)]
        module.launch("fast_math", (1,), (32,), args, intrinsic_error=scale)
        v = values.astype(np.float64)
        exact = np.stack([np.sin(v), np.cos(v), np.exp(v), np.abs(v) ** -0.5, 1 / v, np.clip(v, 0, 1)])
        errors.append(np.abs(out - exact))
        ulp = np.spacing(np.abs(exact).astype(np.float32))
        bounds = [2**-21.41, 2**-21.19, (2 + 1.173 * np.abs(v)) * ulp[2], 2 * ulp[3], 2 * ulp[4], 0 * v]
        for got, bound, unit in zip(errors[-1], bounds, ulp, strict=True):
            assert (got <= bound + unit).all()
    assert (errors[0] <= ulp).all()
    assert errors[1][0].max() > 0.8 * 2**-21.41  # the error is really made


def test_simt_surfaces(module: SimtModule) -> None:
    colour, depth = Surface(13, 21), Surface(13, 21, 1, np.float32)
    module.launch("paint", (3, 2), (8, 8), [colour.handle, depth.handle, np.int32(21), np.int32(13)])
    y, x = np.mgrid[:13, :21]
    np.testing.assert_array_equal(colour.pixels, np.stack([x, y, x + y, np.full_like(x, 255)], -1))
    np.testing.assert_array_equal(depth.pixels[..., 0], (0.5 * x + y).astype(np.float32))
