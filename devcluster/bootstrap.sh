#!/bin/sh
# From a bare machine to the project's Python environment in .venv; done at once when it is there already.
# Needs root only for what is missing of Debian's packages.
set -eu
cd "$(dirname "$0")/.."

UV_VERSION=0.13.9
cache="${XDG_CACHE_HOME:-$HOME/.cache}/devservers"
stamp=.venv/.devservers-synced
export UV_PYTHON_DOWNLOADS=never

if [ -e "$stamp" ] && [ "$stamp" -nt uv.lock ] && [ "$stamp" -nt pyproject.toml ] && [ "$stamp" -nt operator/pyproject.toml ]; then exit 0; fi
# What runs on mocks needs the packages alone: after a person's own `uv sync` neither a network nor uv is asked for.
if [ "${1:-}" = simulated ] && [ -x .venv/bin/python ] && .venv/bin/python -m devcluster.environment_check 2>/dev/null; then
  exit 0
fi

# Runs a command with a line at least every half minute that says what takes long.
step() {
  what=$1; shift
  echo "  $what" >&2
  (
    seconds=0
    while sleep 25 </dev/null >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do
      seconds=$((seconds + 25)); echo "  … $what  ${seconds}s" >&2
    done
  ) &
  ticker=$! code=0
  "$@" || code=$?
  kill "$ticker" 2>/dev/null || true
  wait "$ticker" 2>/dev/null || true
  return "$code"
}

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
  export DEBIAN_FRONTEND=noninteractive
  step "fetching Debian's list of packages" apt-get update -qq >&2
  step "installing Python" apt-get install -y -qq --no-install-recommends \
    ca-certificates python3 python3-venv >/dev/null
  python=$(command -v python3)
fi

uv=$(command -v uv || true)
if [ -z "$uv" ]; then
  uv="$cache/uv/bin/uv"
  case "$("$uv" --version 2>/dev/null)" in "uv $UV_VERSION"*) ;; *)
    step "making an environment for uv" "$python" -m venv --clear "$cache/uv"
    step "installing uv $UV_VERSION" \
      "$cache/uv/bin/pip" install --quiet --disable-pip-version-check "uv==$UV_VERSION" ;;
  esac
fi

step "setting up .venv from uv.lock" "$uv" sync --quiet --frozen --python "$python"
touch "$stamp"
