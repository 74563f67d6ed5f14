#!/usr/bin/env bash
# Prints the python to use: $PYTHON if set, else the first of the usual names that is 3.11 or newer.
#
#   --version    prints its version (3.12) instead of its path
#   --complete   only one that can make virtual environments and has its C headers will do
#
# Exit code 1 and one line on standard error if there is none.
set -euo pipefail

complete=0
answer=path
for argument in "$@"; do
  case $argument in
    --complete) complete=1 ;;
    --version) answer=version ;;
  esac
done

check='
import sys
if sys.version_info < (3, 11):
    sys.exit(1)
if sys.argv[1] == "1":
    import ensurepip, venv, os, sysconfig
    if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
        sys.exit(1)
print("%d.%d" % sys.version_info[:2])
'
for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}; do
  if version=$("$name" -c "$check" "$complete" 2>/dev/null); then
    if [ "$answer" = version ]; then echo "$version"; else command -v "$name"; fi
    exit 0
  fi
done
found=$(python3 --version 2>/dev/null || echo none)
wanted="Python 3.11 or newer"
if [ "$complete" = 1 ]; then wanted="$wanted with venv and headers (Debian, Ubuntu: python3-venv, python3-dev)"; fi
echo "error: $wanted is needed (python3 here: $found); name another one with PYTHON=/path/to/python3" >&2
exit 1
