#!/bin/sh
# Download and unpack source packages of Debian: debian_sources.sh FOLDER PACKAGE...
# It uses its own package lists, so the system needs no deb-src entry.
set -e
folder=$(realpath "$1")
shift
state=$folder/sources/apt
mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
. /etc/os-release
echo "deb-src http://deb.debian.org/debian $VERSION_CODENAME main" > "$state/sources.list"
apt="apt-get -q -o Dir::Etc::SourceList=$state/sources.list -o Dir::Etc::SourceParts=/dev/null
    -o Dir::State::lists=$state/lists -o Dir::Cache=$state/cache -o APT::Sandbox::User=root"
$apt update
for package in "$@"; do
    mkdir -p "$folder/sources/$package" "$folder/$package"
    (cd "$folder/sources/$package" && $apt source --download-only "$package")
    for archive in "$folder/sources/$package"/*.orig.tar.*; do
        tar -xf "$archive" -C "$folder/$package"
    done
done
