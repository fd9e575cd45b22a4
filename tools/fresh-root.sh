#!/bin/sh
# Runs a command in a clone of this checkout inside a new minimal Debian, as on a machine that was just set up.
#
#   tools/fresh-root.sh make demo        what CI runs
#   tools/fresh-root.sh --keep sh        look around in it
#
# The root is made by mmdebstrap with the mirrors of this machine's own apt, and is cached for a day outside the
# checkout. It has its own processes, mounts and devices. What this machine needs to reach package registries (proxy,
# pip settings, certificate authorities) is handed in by environment and never written into the checkout.
set -eu
cd "$(dirname "$0")/.."

keep=
if [ "${1:-}" = --keep ]; then
	keep=1
	shift
fi
[ $# -gt 0 ] || set -- make demo
if [ "$(id -u)" -ne 0 ]; then
	echo "a fresh root needs root's rights: please type: sudo sh tools/fresh-root.sh $*" >&2
	exit 1
fi
sh tools/programs.sh root
. tools/hand-over.sh

cache=${XDG_CACHE_HOME:-$HOME/.cache}/elastic-farm/fresh-root
packages=ca-certificates,git,make
# A tar file of a minimal Debian, made once a day.
make_root() {
	release=$(. /etc/os-release && echo "$VERSION_CODENAME")
	key=$({ mirrors && date -u +%F && echo "$packages $release"; } | sha256sum | cut -c 1-16)
	tar=$cache/$key.tar
	[ -e "$tar" ] && return
	echo "making a minimal Debian ($release)"
	mkdir -p "$cache"
	rm -f "$cache"/*.tar "$cache"/*.new
	# As in slim images: no documentation.
	mirrors | mmdebstrap --quiet --variant=minbase --include="$packages" --format=tar \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
		"$release" - >"$tar.new"
	mv "$tar.new" "$tar"
}

make_root
root=$(mktemp -d "${TMPDIR:-/var/tmp}/fresh-root.XXXXXX")
inside=
leave() {
	[ -z "$inside" ] || kill -KILL "$inside" 2>/dev/null || : # unshare itself ignores gentler signals
	if [ -z "$keep" ]; then rm -rf --one-file-system "$root"; else echo "kept: $root"; fi
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
tar -x --numeric-owner -C "$root" -f "$tar" --exclude=./dev/*
hand_over "$root"
echo "127.0.1.1 fresh" >>"$root/etc/hosts"
place="/srv/a fresh clone/farm" # a path with spaces on purpose
git clone --quiet --no-local . "$root$place"

variables=
for name in $(settings); do variables="$variables $name"; done
export variables place root
# A command in the background of a script would ignore these two signals.
env --default-signal=INT,QUIT \
	unshare --mount --pid --fork --kill-child --uts --ipc --propagation private sh tools/inside-root.sh "$@" <&0 &
inside=$!
wait "$inside"
inside=
if [ -d "$root$place/demo-out" ]; then
	rm -rf demo-out
	cp -R "$root$place/demo-out" demo-out
fi
