#!/usr/bin/env bash
# Installs the Debian packages that are named in files, one a line, where they are missing.
set -euo pipefail

missing=()
while read -r package; do
    dpkg --status "$package" >/dev/null 2>&1 || missing+=("$package")
done < <(cat "$@")

if [ ${#missing[@]} -eq 0 ]; then
    exit 0
elif [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "Please install what the tests run: ${missing[*]} (their names in Debian 12)." >&2
    exit 1
fi
apt-get update --quiet
DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends "${missing[@]}"
