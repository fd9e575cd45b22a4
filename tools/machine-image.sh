#!/bin/sh
# Makes what the machines of the test bench (tests/machines) start from. Root only.
#
#   tools/machine-image.sh root FOLDER PACKAGES         a minimal Debian of this machine's release
#   tools/machine-image.sh layer LOWER UPPER COMMAND…   what COMMAND changes in LOWER (upper:…:lower) goes to UPPER
#   tools/machine-image.sh debs LOWER FOLDER PACKAGE…   those packages, and what they need beyond LOWER
#
# The files of $GIVEN are in /run/given for the COMMAND.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/hand-over.sh"

make_root() {
	release=$(. /etc/os-release && echo "$VERSION_CODENAME")
	mirrors | mmdebstrap --quiet --variant=minbase --include="$2" --format=directory \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' "$release" "$1" -
	rm -rf "$1"/var/cache/apt/*.bin "$1"/var/cache/apt/archives/*.deb "$1"/etc/resolv.conf
	mirrors >"$1/etc/apt/mirrors.list"
}

# In a mount namespace of its own, so that nothing stays mounted.
make_layer() {
	lower=$1 upper=$2
	shift 2
	work=$upper.work
	mkdir -p "$upper" "$work/work" "$work/root"
	mount -t overlay overlay -o "lowerdir=$lower,upperdir=$upper,workdir=$work/work" "$work/root"
	mount -t proc proc "$work/root/proc"
	mount --rbind /dev "$work/root/dev"
	mount -t tmpfs tmpfs "$work/root/run"
	mkdir "$work/root/run/given"
	[ -z "${GIVEN:-}" ] || mount --bind "$GIVEN" "$work/root/run/given"
	set -- HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
	if [ -n "${ONLINE:-}" ]; then
		hand_over "$work/root"
		for name in $(settings); do set -- "$name=$(printenv "$name")" "$@"; done
	fi
	chroot "$work/root" /usr/bin/env -i "$@"
	umount -R "$work/root"
	rm -rf --one-file-system "$work" "$upper/tmp" "$upper/root" "$upper/var/log"
}

make_debs() {
	lower=$1 folder=$2
	shift 2
	ONLINE=1
	make_layer "$lower" "$folder.layer" sh -c '
		here="-o Dir::Etc::SourceList=/etc/apt/mirrors.list -o APT::Sandbox::User=root -qq"
		apt-get $here update && apt-get $here install -y --no-install-recommends --download-only "$@"' sh "$@"
	mkdir -p "$folder"
	mv "$folder.layer"/var/cache/apt/archives/*.deb "$folder"
	rm -rf --one-file-system "$folder.layer"
}

what=$1
shift
if [ "$what" != root ] && [ -z "${MACHINE_IMAGE_ALONE:-}" ]; then
	export MACHINE_IMAGE_ALONE=1
	exec unshare --mount --pid --fork --kill-child --propagation private sh "$here/machine-image.sh" "$what" "$@"
fi
"make_$what" "$@"
