#!/bin/sh
# Sees to programs of the machine, by group: python, render, root, clones, database, scene. As root they come by apt; else
# one line says what to type. Nothing is asked of the network when nothing is missing.
set -eu

cache=${XDG_CACHE_HOME:-$HOME/.cache}/elastic-farm
scene=usr/share/doc/povray/examples/advanced/biscuit.pov

need() {
	command -v "$1" >/dev/null 2>&1 || echo "$2"
}

missing() {
	case $1 in
	python) echo python3 python3-venv ;;
	render)
		need povray povray
		[ -e /usr/share/povray-3.7/include/colors.inc ] || echo povray-includes
		need ffmpeg ffmpeg
		need git git
		need setpriv util-linux
		;;
	root)
		need mmdebstrap mmdebstrap
		need git git
		;;
	machines)
		need mmdebstrap mmdebstrap
		need nft nftables
		need ip iproute2
		need unshare util-linux
		need openssl openssl
		;;
	clones)
		need qemu-system-x86_64 qemu-system-x86
		need qemu-img qemu-utils
		need mmdebstrap mmdebstrap
		need mkfs.ext4 e2fsprogs
		need setpriv util-linux
		;;
	database)
		ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || need initdb postgresql
		[ -x /usr/sbin/pgbouncer ] || need pgbouncer pgbouncer
		need setpriv util-linux
		;;
	esac
}

# A server that the tests start is all that is wanted: Debian's package would make one of its own, and start it.
no_cluster() {
	[ "$(id -u)" -eq 0 ] && [ ! -e /etc/postgresql-common ] || return 0
	mkdir -p /etc/postgresql-common
	echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
}

refresh() {
	apt-get -qq update || echo "apt-get update failed; trying with the lists there are" >&2
}

install() {
	[ $# -gt 0 ] || return 0
	if ! command -v apt-get >/dev/null 2>&1; then
		echo "please install: $*" >&2
		return 1
	elif [ "$(id -u)" -ne 0 ]; then
		echo "please type: sudo apt-get install --no-install-recommends $*" >&2
		return 1
	fi
	echo "installing $*"
	refresh
	DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >"$log" 2>&1 || {
		cat "$log" >&2
		return 1
	}
}

# The scene belongs to the package's documentation, which slim images leave out even when the package is installed; so
# without it, it is taken from the package file. It is CC BY-SA 3.0: its copyright file comes along.
fetch_scene() {
	[ -e "/$scene" ] || [ -e "/$scene.gz" ] || [ -e "$cache/scenes/biscuit.pov" ] && return 0
	echo "fetching the scene biscuit.pov from the package povray-examples"
	mkdir -p "$cache/scenes"
	(
		cd "$work"
		apt-get -qq -o APT::Sandbox::User=root download povray-examples 2>"$log" ||
			{ refresh && apt-get -qq -o APT::Sandbox::User=root download povray-examples; }
		dpkg-deb --fsys-tarfile povray-examples_*.deb | tar -x --wildcards './usr/share/doc/*'
		if [ -e "$scene.gz" ]; then gunzip "$scene.gz"; fi
		cp usr/share/doc/povray-examples/copyright "$cache/scenes/copyright" 2>/dev/null || :
		mv "$scene" "$cache/scenes/biscuit.pov"
	) || {
		echo "no scene: please install povray-examples, or put its biscuit.pov into $cache/scenes" >&2
		return 1
	}
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
log=$work/log
if [ "$(id -u)" -eq 0 ] && command -v flock >/dev/null; then # apt refuses to be run twice at once
	exec 9>/run/elastic-farm-programs.lock
	flock 9
fi
for group in "$@"; do
	case $group in
	scene) fetch_scene ;;
	python | render | root | machines | clones | database)
		[ "$group" != database ] || [ -z "$(missing database)" ] || no_cluster
		# shellcheck disable=SC2046  # package names hold no spaces
		install $(missing "$group")
		;;
	*)
		echo "there is no group of programs called $group" >&2
		exit 1
		;;
	esac
done
