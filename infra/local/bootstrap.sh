#!/bin/sh
# From a bare machine to the project's Python environment in .venv; done at once when it is there already.
# Needs root only for what is missing of Debian's packages.
set -eu
cd "$(dirname "$0")/../.."

UV_VERSION=0.13.9
cache="${XDG_CACHE_HOME:-$HOME/.cache}/devservers"
stamp=.venv/.devservers-synced
export UV_PYTHON_DOWNLOADS=never

if [ -e "$stamp" ] && [ "$stamp" -nt uv.lock ] && [ "$stamp" -nt pyproject.toml ]; then exit 0; fi

fit() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
python=
for name in python3 python3.14 python3.13 python3.12 python3.11; do
  if command -v "$name" >/dev/null 2>&1 && fit "$name" && "$name" -c 'import ensurepip' 2>/dev/null; then
    python=$(command -v "$name"); break
  fi
done
if [ -z "$python" ]; then
  if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" != 0 ]; then
    echo "Python 3.11 or later with venv is not on this machine" >&2
    echo "  install it (Debian: apt-get install python3 python3-venv), then run the command again" >&2
    exit 1
  fi
  echo "  installing Python" >&2
  apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    ca-certificates python3 python3-venv >/dev/null
  python=$(command -v python3)
fi

uv=$(command -v uv || true)
if [ -z "$uv" ]; then
  uv="$cache/uv/bin/uv"
  case "$("$uv" --version 2>/dev/null)" in "uv $UV_VERSION"*) ;; *)
    echo "  installing uv $UV_VERSION" >&2
    "$python" -m venv --clear "$cache/uv"
    "$cache/uv/bin/pip" install --quiet --disable-pip-version-check "uv==$UV_VERSION" ;;
  esac
fi

echo "  setting up .venv from uv.lock" >&2
"$uv" sync --quiet --frozen --all-extras --python "$python"
touch "$stamp"
