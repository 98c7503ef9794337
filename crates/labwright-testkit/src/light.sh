#!/bin/sh
# First process of a light host, in new mount, pid, ipc and uts namespaces and in the host's network namespace. It makes the
# root file system, moves into it and becomes sshd, which reaps what is orphaned. It does not share what is not listed here.
# Arguments: folder of the host, its name, size of its disk, mode of its root (rw or ro). Standard input: the lab's pipe.
set -eu
# Below it signals its whole pid namespace, which must never be the machine's.
[ "$$" = 1 ] || exit 1
dir=$1 name=$2 size=$3 mode=$4
exec 3<&0 </dev/null
umask 022
hostname "$name"

for part in /etc /usr /var; do
  if mountpoint -q "$part"; then
    echo "light hosts need $part on the root file system: an overlay shows nothing of what is mounted on it"
    exit 1
  fi
done
mount -t tmpfs -o "size=$size,mode=0755" labwright "$dir/disk"
mkdir "$dir/disk/up" "$dir/disk/up/usr" "$dir/disk/up/usr/sbin" "$dir/disk/up/var" "$dir/disk/work"
# Of this machine a host sees the programs and /etc. All else, the lab's folder and the sources included, is hidden by
# whiteouts, so that a test cannot pass because the controller's files happen to lie at the same path.
for entry in /* /.[!.]*; do
  case ${entry#/} in
  bin | etc | lib | lib32 | lib64 | libx32 | sbin | usr | var | '*' | '.[!.]*') ;;
  *) mknod "$dir/disk/up$entry" c 0 0 ;;
  esac
done
mknod "$dir/disk/up/var/tmp" c 0 0
# Who has applied a lab to this machine (the README's first command does) has state here; a host begins with none.
if [ -e /var/lib/labwright ]; then
  mkdir "$dir/disk/up/var/lib"
  mknod "$dir/disk/up/var/lib/labwright" c 0 0
fi
for unit in /etc/systemd/system/labwright-* /etc/systemd/system/*/labwright-*; do
  if [ -e "$unit" ] || [ -L "$unit" ]; then
    mkdir -p "$dir/disk/up${unit%/*}"
    mknod "$dir/disk/up$unit" c 0 0
  fi
done
# With it no package would start a daemon; a real host has no such file.
[ ! -e /usr/sbin/policy-rc.d ] || mknod "$dir/disk/up/usr/sbin/policy-rc.d" c 0 0
mount -t overlay -o "lowerdir=/,upperdir=$dir/disk/up,workdir=$dir/disk/work" labwright "$dir/root"

cd "$dir/root"
mkdir -m 755 boot dev home media mnt opt proc run srv sys
mkdir -m 700 root
mkdir -m 1777 tmp var/tmp
rm -f etc/ssh/ssh_host_* etc/ssh/sshrc
cp -a --remove-destination "$dir/seed/." .
chroot . sh -e <"$dir/prepare.sh"

mount -t proc proc proc
# As root on a host one could set this machine's kernel otherwise; the network's settings are the host's own.
mount --bind proc/sys proc/sys
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,ro proc/sys
if [ -e proc/sysrq-trigger ]; then
  mount --bind proc/sysrq-trigger proc/sysrq-trigger
  mount -o remount,bind,ro proc/sysrq-trigger
fi
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=0755,size=4m tmpfs dev
for device in null zero full random urandom tty; do
  : >"dev/$device"
  mount --bind "/dev/$device" "dev/$device"
done
mkdir -m 755 dev/pts
mkdir -m 1777 dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
mount -t tmpfs -o mode=0755 tmpfs run
mkdir run/sshd
mkdir -m 1777 run/lock

pivot_root . mnt
cd /
umount -l /mnt
mount -o "remount,$mode" /
# The lab's end of the pipe closes when the test process is gone; then the host goes too.
(
  read -r _ <&3 || :
  while :; do
    kill -TERM 1
    sleep 0.1
  done
) &
# What reaches past the host: the clock, modules, reboot, the kernel's log, device nodes.
exec setpriv --bounding-set=-sys_time,-sys_module,-sys_rawio,-sys_boot,-syslog,-mknod \
  /usr/sbin/sshd -D -e -f /etc/ssh/sshd_config 3<&-
