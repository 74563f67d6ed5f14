#!/usr/bin/env bash
# Runs a command on a virtual X screen of its own: scripts/virtual_screen.sh COMMAND [ARGUMENTS...]
set -euo pipefail

numbers=$(mktemp)
# -displayfd: the server picks a free display and writes its number once it accepts connections.
Xvfb -displayfd 3 -screen 0 1600x1000x24 -nolisten tcp 3>"$numbers" 2>/dev/null &
server=$!
trap 'kill "$server" 2>/dev/null || true; rm -f "$numbers"' EXIT
for _ in $(seq 100); do
  [ -s "$numbers" ] && break
  kill -0 "$server" 2>/dev/null || { echo "error: the virtual screen (Xvfb) did not start" >&2; exit 1; }
  sleep 0.1
done
[ -s "$numbers" ] || { echo "error: the virtual screen (Xvfb) did not answer within 10 s" >&2; exit 1; }
DISPLAY=":$(head -n 1 "$numbers")" "$@"
