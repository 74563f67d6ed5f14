"""The SIMT host as a device of the sorted baseline."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.gpu.sorted_baseline import SOURCE, THREADS
from kilonerf.kernels.cuda.device import INCLUDE_FOLDERS
from simt.simt_host import SimtModule


class SimtBaselineDevice:
    """Runs the kernels on the SIMT host, and everything else with NumPy."""

    arrays = np

    def __init__(self, *, checked: bool = False) -> None:
        self._module = SimtModule(SOURCE, include_dirs=INCLUDE_FOLDERS, checked=checked)

    def launch(self, kernel: str, blocks: int, arguments: Sequence[Any]) -> None:
        self._module.launch(kernel, (blocks,), (THREADS,), arguments)

    def finish(self) -> None:
        pass
