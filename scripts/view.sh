#!/usr/bin/env bash
# Opens a scene: scripts/view.sh KILONERF_VIEW SCENE
# On a machine with no display the same window runs on a virtual screen and leaves a screenshot and a short video.
set -euo pipefail

program=$1
scene=$2
if [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] || [ "$(uname -s)" = Darwin ]; then
  exec "$program" "$scene"
fi
"$(dirname "$0")/system_packages.sh" view  # set up with a display once, the virtual screen may be missing
mkdir -p out
echo "no display here: running the window on a virtual screen and rendering a 5 s video of it (about a minute)"
"$(dirname "$0")/virtual_screen.sh" "$program" "$scene" --turntable --show-network-grid --exit-after 5 --video-size 960x600 \
  --screenshot out/view.png --record out/view.mp4
echo "screenshot: out/view.png"
echo "video:      out/view.mp4"
