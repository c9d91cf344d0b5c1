#!/usr/bin/env bash
# Installs what the test hosts need on this machine, or says what to install.
set -euo pipefail
cd "$(dirname "$0")"
mapfile -t packages < packages.txt

if ! command -v dpkg-query >/dev/null; then
  for program in podman runc mmdebstrap ssh; do
    command -v "$program" >/dev/null || missing+=" $program"
  done
  [ -z "${missing:-}" ] || { echo "The test hosts need:$missing. Install them with this system's package manager." >&2; exit 1; }
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
  echo "The test hosts need packages that are not here. Run: sudo apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 1
fi
echo "Installing what the test hosts need (about a minute, once): ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet=2
apt-get install --quiet=2 --yes --no-install-recommends "${missing[@]}" >/dev/null
