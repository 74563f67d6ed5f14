"""The probe of the machine's multiply-adds: it measures what the machine has and refuses what it has not."""

import platform

import pytest

from kilonerf.kernels import _cpu
from kilonerf.kernels.measure.machine import this_machine

NEEDS = {  # kind: instruction sets, as Linux names them
    "float32-fma256": {"avx2", "fma"},
    "float32-fma512": {"avx512f"},
    "int8-madd256": {"avx2"},
    "int8-vnni256": {"avx_vnni"},
    "int8-vnni512": {"avx512_vnni"},
    "int16-madd256": {"avx2"},
    "int16-madd512": {"avx512f"},
    "int16-vnni256": {"avx_vnni"},
    "int16-vnni512": {"avx512_vnni"},
    "bfloat16-amx": {"amx_tile", "amx_bf16"},
}


def test_every_kind_of_this_machine_has_a_rate() -> None:
    kinds = _cpu.matrix_kinds()
    assert kinds
    for kind in kinds:
        assert _cpu.matrix_peak(kind, 1) > 1e6
    assert _cpu.matrix_peak(kinds[0], 3) > 1e6  # threads that wait for each other are let go


def test_the_float_rate_is_no_more_than_a_machine_can_do() -> None:
    """A loop that the compiler removed would be faster than any: so many multiply-adds a cycle are out of reach."""
    for kind in _cpu.matrix_kinds():
        most = 128 if kind.startswith("int8") else 64
        assert kind.startswith("bfloat16") or _cpu.matrix_peak(kind, 1) < most * 8e9


@pytest.mark.skipif(platform.machine() != "x86_64" or not this_machine().flags, reason="needs x86 and /proc/cpuinfo")
def test_the_kinds_are_those_of_the_instruction_sets() -> None:
    flags, kinds = set(this_machine().flags), set(_cpu.matrix_kinds())
    assert "float32-sse2" in kinds
    for kind, needed in NEEDS.items():
        assert (kind in kinds) == (needed <= flags), kind


def test_what_the_machine_has_not_is_refused_with_what_it_has() -> None:
    with pytest.raises(ValueError, match=r"kind 'float32-opal': this machine has .*float32"):
        _cpu.matrix_peak("float32-opal", 1)
    for kind in set(NEEDS) - set(_cpu.matrix_kinds()):
        with pytest.raises(ValueError, match="this machine has"):
            _cpu.matrix_peak(kind, 1)
    for threads in (0, -1, 5000):
        with pytest.raises(ValueError, match="threads: expected 1 to 1024"):
            _cpu.matrix_peak(_cpu.matrix_kinds()[0], threads)
