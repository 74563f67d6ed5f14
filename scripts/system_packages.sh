#!/usr/bin/env bash
# Installs what the program needs from the operating system and is not there yet. Fast and silent if all is there.
#
#   scripts/system_packages.sh view    what building it and opening its window take
#   scripts/system_packages.sh test    the same, a virtual screen and xdotool
#
# Asks nothing. Without root it goes through sudo. Exit code 1, with one line for each thing missing, if it cannot.
set -euo pipefail

purpose=${1:-view}

# Looked for by the window's libraries at run time (the glfw wheel brings GLFW, but opens these by name).
opengl_libraries="libGL.so.1 libEGL.so.1 libGLX.so.0"
x11_libraries="libX11.so.6 libX11-xcb.so.1 libXext.so.6 libXrandr.so.2 libXinerama.so.1 libXcursor.so.1 libXi.so.6
  libXrender.so.1 libXxf86vm.so.1 libxkbcommon.so.0"

has() { command -v "$1" >/dev/null 2>&1; }

# A python that can make virtual environments and has its headers; the newest wins.
usable_python() {
  PYTHON=${PYTHON:-} "$(dirname "$0")/find_python.sh" --complete >/dev/null 2>&1
}

has_library() {
  grep -qF "$1 " <<<"$libraries"
}

# Mesa's drivers are opened by libGL and libEGL, by folder: any driver will do, NVIDIA's too.
has_opengl_driver() {
  compgen -G "/usr/lib*/dri/*_dri.so" >/dev/null || compgen -G "/usr/lib/*/dri/*_dri.so" >/dev/null ||
    has_library libGLX_nvidia.so.0
}

wants_virtual_screen() {
  [ "$purpose" = test ] || [ -z "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]
}

# What is missing, one word each.
missing() {
  # ldconfig is in /sbin, which is not on every user's path.
  libraries=$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null || true)
  usable_python || echo python
  has c++ || has g++ || has clang++ || echo compiler
  [ "$(uname -s)" = Darwin ] && return  # its OpenGL and windows are part of the system
  local library
  for library in $opengl_libraries; do has_library "$library" || { echo opengl && break; }; done
  for library in $x11_libraries; do has_library "$library" || { echo x11 && break; }; done
  has_opengl_driver || echo opengl-driver
  if wants_virtual_screen; then has Xvfb || echo virtual-screen; fi
  if [ "$purpose" = test ]; then has xdotool || echo xdotool; fi
}

# The packages of one manager for one missing thing.
packages() {  # MANAGER THING
  case "$1:$2" in
    apt:python) apt_python ;;
    apt:compiler) echo g++ ;;
    apt:opengl) echo libgl1 libegl1 libglx0 libopengl0 ;;
    apt:opengl-driver) echo libgl1-mesa-dri libegl-mesa0 libglx-mesa0 ;;
    apt:x11) echo libx11-6 libx11-xcb1 libxext6 libxrandr2 libxinerama1 libxcursor1 libxi6 libxrender1 libxxf86vm1 libxkbcommon0 ;;
    apt:virtual-screen) echo xvfb libgl1-mesa-dri ;;
    dnf:python) echo python3.12 python3.12-devel ;;
    dnf:compiler) echo gcc-c++ ;;
    dnf:opengl) echo libglvnd-glx libglvnd-egl libglvnd-opengl ;;
    dnf:opengl-driver) echo mesa-dri-drivers mesa-libGL mesa-libEGL ;;
    dnf:x11) echo libX11 libX11-xcb libXext libXrandr libXinerama libXcursor libXi libXrender libXxf86vm libxkbcommon ;;
    dnf:virtual-screen) echo xorg-x11-server-Xvfb ;;
    pacman:python) echo python ;;
    pacman:compiler) echo gcc ;;
    pacman:opengl | pacman:opengl-driver) echo libglvnd mesa ;;
    pacman:x11) echo libx11 libxext libxrandr libxinerama libxcursor libxi libxrender libxxf86vm libxkbcommon ;;
    pacman:virtual-screen) echo xorg-server-xvfb ;;
    zypper:python) echo python312 python312-devel ;;
    zypper:compiler) echo gcc-c++ ;;
    zypper:opengl | zypper:opengl-driver) echo libglvnd Mesa-dri Mesa-libGL1 Mesa-libEGL1 ;;
    zypper:x11) echo libX11-6 libX11-xcb1 libXext6 libXrandr2 libXinerama1 libXcursor1 libXi6 libXrender1 libXxf86vm1 libxkbcommon0 ;;
    zypper:virtual-screen) echo xorg-x11-server-Xvfb ;;
    brew:python) echo python@3.12 ;;
    brew:compiler) echo llvm ;;
    *:xdotool) echo xdotool ;;
  esac
}

# A python that is there but has no venv or headers is completed; else the newest that the distribution has is taken.
apt_python() {
  local version
  if version=$("$(dirname "$0")/find_python.sh" --version 2>/dev/null); then
    echo "python$version-venv" "python$version-dev"
    return
  fi
  for version in 3.14 3.13 3.12 3.11; do
    if apt-cache show "python$version-venv" >/dev/null 2>&1; then
      echo "python$version" "python$version-venv" "python$version-dev"
      return
    fi
  done
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif [ -t 0 ]; then
    sudo "$@"
  else
    sudo -n "$@"  # nobody is there to type a password
  fi
}

fail() {
  echo "system packages: $1" >&2
  exit 1
}

things=$(missing)
[ -z "$things" ] && exit 0

manager=
for candidate in apt-get dnf pacman zypper brew; do
  if has "$candidate"; then
    manager=${candidate%-get}
    break
  fi
done
summary=$(echo $things)
[ -n "$manager" ] || fail "missing: $summary; no apt-get, dnf, pacman, zypper or brew here: please install them by hand"
if [ "$manager" != brew ] && [ "$(id -u)" != 0 ] && ! has sudo; then
  fail "missing: $summary; neither root nor sudo: please have them installed"
fi

echo "system packages: installing what is missing: $summary"
export DEBIAN_FRONTEND=noninteractive
if [ "$manager" = apt ]; then
  as_root apt-get update -qq || fail "apt-get update failed: missing $summary"  # a fresh container has no lists
fi
names=
for thing in $things; do
  names="$names $(packages "$manager" "$thing")"
done
[ -n "${names// /}" ] || fail "missing: $summary; $manager has no package for it"
case $manager in
  apt) as_root apt-get install -y -qq --no-install-recommends $names ;;
  dnf) as_root dnf install -y -q $names ;;
  pacman) as_root pacman -Sy --noconfirm --needed $names ;;
  zypper) as_root zypper --non-interactive install $names ;;
  brew) brew install $names ;;
esac || fail "$manager could not install:$names"

things=$(missing)
[ -z "$things" ] || fail "still missing after installing: $(echo $things)"
