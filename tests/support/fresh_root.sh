#!/bin/bash
# Runs a command on a clone of this checkout in a fresh root of Debian 12, which has git, make and certificates only.
#
#   tests/support/fresh_root.sh [--tools FOLDER] [--keep] [COMMAND...]        (.ci/run when none is given)
#
# The cache is empty; with --tools, built tools are taken from FOLDER (.../devservers/tools), read-only. What the machine
# needs to fetch packages (certificates, apt's and pip's configuration, proxies) is copied or passed on. The clone is of
# what is committed. The command has its own mounts and processes, which end with it, and the machine's network, because
# an embedded cluster's veth pair ends there.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/../.." && pwd)
tools= keep=
while [ $# -gt 0 ]; do
  case $1 in
    --tools) tools=$(cd "$2" && pwd); shift 2 ;;
    --keep) keep=1; shift ;;
    *) break ;;
  esac
done
[ $# -gt 0 ] || set -- .ci/run
[ "$(id -u)" = 0 ] || { echo "a fresh root needs root" >&2; exit 1; }
command -v mmdebstrap >/dev/null || {
  echo "mmdebstrap is not on this machine (package mmdebstrap)" >&2
  echo "  run .venv/bin/python -m devcluster packages" >&2
  exit 1
}

# Not below /tmp, which may be memory or an overlay: containers' layers lie in it.
work=$(mktemp -d "${TMPDIR:-/var/tmp}/devservers-fresh.XXXXXX")
trap '[ -n "$keep" ] || rm -rf --one-file-system "$work"' EXIT
root=$work/root
echo "a fresh root in $root" >&2
mmdebstrap --quiet --variant=minbase --include=git,make,ca-certificates bookworm "$root"

# How this machine fetches packages.
for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
  [ ! -e "$file" ] || { mkdir -p "$root$(dirname "$file")"; cp -L "$file" "$root$file"; }
done
for folder in /etc/apt/sources.list.d /etc/apt/auth.conf.d /etc/apt/keyrings /usr/local/share/ca-certificates; do
  [ ! -d "$folder" ] || { mkdir -p "$root$folder"; cp -a "$folder/." "$root$folder/"; }
done
grep -rhiE '^ *Acquire::(http|https)' /etc/apt/apt.conf /etc/apt/apt.conf.d 2>/dev/null \
  > "$root/etc/apt/apt.conf.d/90machine" || true
if ls "$root"/etc/apt/sources.list.d/*.sources >/dev/null 2>&1; then : > "$root/etc/apt/sources.list"; fi

git clone --quiet --no-hardlinks "$checkout" "$root/srv/devservers"
if [ -n "$tools" ]; then mkdir -p "$root/root/.cache/devservers/tools"; fi

passed=()
for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY SSL_CERT_FILE PIP_CERT PIP_INDEX_URL \
  UV_INDEX_URL UV_DEFAULT_INDEX GOPROXY; do
  [ -z "${!name:-}" ] || passed+=("$name=${!name}")
done

# Inside: this machine's kernel, and nothing else of it.
enter='
root=$1 tools=$2
shift 2
mount --bind "$root" "$root"  # unshare(1) changes the propagation of /, which has to be a mount for that
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"  # the tests look there for what processes left that are none of theirs
mount -t tmpfs -o mode=0755 run "$root/run"
mount -t proc proc "$root/proc"
if [ -n "$tools" ]; then
  mount --bind "$tools" "$root/root/.cache/devservers/tools"
  mount -o remount,bind,ro "$root/root/.cache/devservers/tools"
fi
# Not chroot alone: nsenter enters the embedded cluster by its mount namespace, whose root has to be this one.
cd "$root"
pivot_root . mnt
exec chroot . sh -c "umount -l /mnt && exec \"\$@\"" sh "$@"
'
unshare --mount --pid --fork --kill-child --propagation private \
  bash -ec "$enter" bash "$root" "$tools" \
  env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 "${passed[@]}" \
  bash -c 'cd /srv/devservers && exec "$@"' bash "$@"
