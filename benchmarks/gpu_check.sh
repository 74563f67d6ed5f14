#!/usr/bin/env bash
# All that only a machine with an NVIDIA GPU can tell: tests, compute-sanitizer, times. Results: benchmarks/results/.
# Options are those of benchmarks/gpu/check.py (see --help). Exit code 0 good, 1 something failed (the JSON says what), 2 no GPU.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-$here/../.venv/bin/python}
[ -x "$python" ] || python=$(command -v "${PYTHON:-python3}")
cd "$here/.."
exec "$python" -m benchmarks.gpu.check "$@"
