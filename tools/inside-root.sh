#!/bin/sh
# The second half of fresh-root.sh, in namespaces of its own: mounts what a machine has, then runs the command there.
set -eu

mount --bind "$root" "$root" # on a machine, too, the root is a mount
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
for device in null zero full random urandom tty; do
	: >"$root/dev/$device"
	mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for name in stdin:0 stdout:1 stderr:2; do ln -s "/proc/self/fd/${name#*:}" "$root/dev/${name%:*}"; done
hostname fresh

# Nothing of this machine's environment but the settings named in $variables.
set -- "TERM=${TERM:-dumb}" "HOME=/root" "LANG=C.UTF-8" "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
	"$@"
for name in $variables; do
	set -- "$name=$(printenv "$name")" "$@"
done
# Not chroot: in one the kernel gives no user namespaces.
cd "$root"
pivot_root . mnt
umount -l /mnt
# This shell stays as the first process, as which it buries orphans.
/usr/bin/env -i -C "$place" "$@"
exit $?
