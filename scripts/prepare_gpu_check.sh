#!/usr/bin/env bash
# Prepares gpu_kit/, which goes with this tree to a bare machine with a GPU and no network (docs/cuda.md): the wheels
# that such a machine may lack, a wheel of this program with its C++ extension, the commit. benchmarks/gpu_check.sh
# unpacks there what is missing. x86-64 Linux. Make it again after the commit that is to be measured.
#
#   --python 3.12   the machine's version of Python (3.12)
#   --with-cupy     CuPy, NVRTC and CUDA's headers too: another 130 MB; without it the machine must have them
#
# PYTHON names an interpreter of that version with C headers; without one the machine builds the extension itself, if it
# has a compiler, or does without.
set -euo pipefail
cd "$(dirname "$0")/.."

version=3.12
packages=(numpy safetensors pillow moderngl tyro rich pytest hypothesis 'cuda-bindings>=13,<14')
while [ $# -gt 0 ]; do
  case $1 in
    --python) version=${2:?--python needs a version such as 3.12} && shift 2 ;;
    --with-cupy) packages+=('cupy-cuda13x>=14' 'nvidia-cuda-nvrtc>=13,<14' 'nvidia-cuda-runtime>=13,<14') && shift ;;
    *) echo "error: prepare_gpu_check.sh: unknown option $1 (known: --python, --with-cupy)" >&2 && exit 2 ;;
  esac
done

kit=gpu_kit
rm -rf $kit
mkdir -p $kit/wheels
echo "$version" >$kit/python
git describe --always --dirty --abbrev=40 '--exclude=*' >$kit/commit 2>/dev/null || echo unknown >$kit/commit

if python=$(PYTHON=${PYTHON:-python$version} scripts/find_python.sh --complete 2>/dev/null) &&
  [ "$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" = "$version" ]; then
  "$python" -m venv build/kit-python
  build/kit-python/bin/python -m pip wheel --quiet --no-deps --wheel-dir $kit/wheels .
else
  echo "no Python $version with headers here (name one with PYTHON=...): the extension is built there, if it can be"
fi

downloader=$(scripts/find_python.sh)
[ ! -x .venv/bin/python ] || downloader=.venv/bin/python
platforms=()
for minor in $(seq 5 39); do platforms+=(--platform "manylinux_2_${minor}_x86_64"); done
for name in manylinux1 manylinux2010 manylinux2014; do platforms+=(--platform "${name}_x86_64"); done
"$downloader" -m pip download --quiet --only-binary=:all: --python-version "$version" --implementation cp \
  "${platforms[@]}" --dest $kit/wheels "${packages[@]}"

echo "$kit: $(find $kit/wheels -name '*.whl' | wc -l) wheels for Python $version, $(du -sm $kit | cut -f1) MiB;" \
  "the tracked files are another $(git ls-files -z | du -cm --files0-from=- | tail -1 | cut -f1) MiB"
