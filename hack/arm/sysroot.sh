#!/bin/bash
# Debian packages of another architecture, unpacked into a directory; nothing of them is run.
#   sysroot.sh SUITE ARCHITECTURE DIRECTORY PACKAGE...
set -euo pipefail
suite=$1 architecture=$2 directory=$3
shift 3
mirror=$(apt-get indextargets --format '$(SITE)' | grep -v security | head -1)
state=$directory.apt
mkdir -p "$directory" "$state"/{lists/partial,cache/archives/partial,etc}
: >"$state/status"
echo "deb [arch=$architecture signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$state/etc/sources.list"
options=(-q -y -o "Dir::Etc=$state/etc" -o "Dir::Etc::SourceList=$state/etc/sources.list" -o Dir::Etc::SourceParts=/nonexistent
    -o "Dir::State=$state" -o "Dir::State::Lists=$state/lists" -o "Dir::State::status=$state/status" -o "Dir::Cache=$state/cache"
    -o "APT::Architecture=$architecture" -o "APT::Architectures=$architecture" -o APT::Install-Recommends=false
    -o Acquire::Check-Valid-Until=false -o Acquire::Languages=none -o Debug::NoLocking=1)
apt-get "${options[@]}" update >/dev/null
apt-get "${options[@]}" --download-only install "$@" >/dev/null
for package in "$state"/cache/archives/*.deb; do dpkg -x "$package" "$directory"; done
# Links to the root of the other machine become links within the directory.
find "$directory" -type l -lname '/*' | while read -r link; do
    ln -sfn "$(realpath -m --relative-to="$(dirname "$link")" "$directory$(readlink "$link")")" "$link"
done
[ -e "$directory/lib" ] || ln -s usr/lib "$directory/lib"
