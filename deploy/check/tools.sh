#!/usr/bin/env bash
# Install the missing Debian packages of files that list one package per line.
set -euo pipefail

missing=()
while read -r package; do
    dpkg --status "$package" >/dev/null 2>&1 || missing+=("$package")
done < <(cat "$@")

if [ ${#missing[@]} -eq 0 ]; then
    exit 0
elif [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "The tests need these Debian 12 packages: ${missing[*]}" >&2
    exit 1
fi
apt-get update --quiet
DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends "${missing[@]}"
