#!/bin/sh
# From nothing to the machine's first process. Runs as pid 1 of new mount, pid, uts, ipc and cgroup namespaces, with
# LAYERS (upper:…:lower), UPPER, WORK, ROOT, NAME, HOSTS, CAPABILITIES and CGROUPS given; everything mounted here goes with them.
set -eu

mount -t overlay overlay -o "lowerdir=$LAYERS,upperdir=$UPPER,workdir=$WORK" "$ROOT"
mount -t proc proc "$ROOT/proc"
# What speaks to the whole kernel stays shut.
for shut in sys irq bus fs; do
	[ ! -e "$ROOT/proc/$shut" ] || mount --bind "$ROOT/proc/$shut" "$ROOT/proc/$shut"
	[ ! -e "$ROOT/proc/$shut" ] || mount -o remount,bind,ro "$ROOT/proc/$shut"
done
[ ! -e "$ROOT/proc/sysrq-trigger" ] || mount --bind /dev/null "$ROOT/proc/sysrq-trigger"
mount -t sysfs -o ro sysfs "$ROOT/sys"
mount -t tmpfs -o mode=755,size=16m tmpfs "$ROOT/dev"
mount -t tmpfs -o mode=755,size=256m tmpfs "$ROOT/run"
for device in null zero full random urandom tty; do
	: >"$ROOT/dev/$device"
	mount --bind "/dev/$device" "$ROOT/dev/$device"
done
mkdir "$ROOT/dev/pts" "$ROOT/dev/shm" "$ROOT/run/lock"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$ROOT/dev/pts"
mount -t tmpfs -o mode=1777,size=1g tmpfs "$ROOT/dev/shm"
ln -s pts/ptmx "$ROOT/dev/ptmx"
ln -s /proc/self/fd "$ROOT/dev/fd"
ln -s /proc/1/fd/1 "$ROOT/dev/console"
for name in stdin:0 stdout:1 stderr:2; do ln -s "/proc/self/fd/${name#*:}" "$ROOT/dev/${name%:*}"; done

# Its own part of the control groups, and no other.
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
	mount -t cgroup2 cgroup2 "$ROOT/sys/fs/cgroup"
else
	mount -t tmpfs -o mode=755,size=1m tmpfs "$ROOT/sys/fs/cgroup"
	for kind in $CGROUPS; do
		mkdir "$ROOT/sys/fs/cgroup/$kind"
		mount -t cgroup -o "$kind" cgroup "$ROOT/sys/fs/cgroup/$kind"
	done
fi

hostname "$NAME"
echo "$NAME" >"$ROOT/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 %s\n%s\n' "$NAME" "$HOSTS" >"$ROOT/etc/hosts"
: >"$ROOT/etc/resolv.conf"
head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$ROOT/etc/machine-id"
cd "$ROOT"
pivot_root . mnt # not chroot: in one the kernel gives no user namespaces
umount -l /mnt
# The clock, modules and devices are the host's: nobody in here may touch them.
exec env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
	setpriv --bounding-set="$CAPABILITIES" \
	/usr/bin/python3 -IS /usr/lib/machine/init
