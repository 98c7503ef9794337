#!/bin/sh
# Keeps one systemd host, in new mount and pid namespaces: makes its root file system, boots it, boots it again after a
# reboot (exit status 133), ends when it is powered off. Nothing of it is visible to the machine but its control groups.
# Arguments: folder of the host, base root file system, network namespace, name, machine name, size of the disk, number of
# control groups, their folders, then more arguments for systemd-nspawn. Standard input: the lab's pipe.
set -eu
# Below it signals its whole pid namespace, which must never be the machine's.
[ "$$" = 1 ] || exit 1
dir=$1 base=$2 netns=$3 name=$4 machine=$5 size=$6 groups=$7
shift 7
exec 3<&0 </dev/null
umask 022

mount -t tmpfs -o "size=$size,mode=0755" labwright "$dir/disk"
mkdir "$dir/disk/up" "$dir/disk/work"
mount -t overlay -o "lowerdir=$base,upperdir=$dir/disk/up,workdir=$dir/disk/work" labwright "$dir/root"
cp -a --remove-destination "$dir/seed/." "$dir/root/"
chroot "$dir/root" sh -e <"$dir/prepare.sh"

# systemd-nspawn leaves folders here by machine name; these go with the mount.
mkdir -p /run/systemd
mount -t tmpfs -o mode=0755 tmpfs /run/systemd

# The lab's end of the pipe closes when the test process is gone; then the host goes too, without ceremony.
(
  read -r _ <&3 || :
  while :; do
    : >"$dir/closed" || :
    kill -KILL -1 || :
    sleep 0.1
  done
) &
exec 3<&-

joined=
while [ "$groups" -gt 0 ]; do
  joined="$joined $1/cgroup.procs"
  groups=$((groups - 1))
  shift
done
status=133
while [ "$status" = 133 ] && [ ! -e "$dir/closed" ]; do
  status=0
  (
    # Only nspawn joins: with cgroup v2 a group that has processes of its own can hand no controller to its children.
    for file in $joined; do echo 0 >"$file" || exit 1; done
    exec systemd-nspawn --quiet --boot --directory="$dir/root" --network-namespace-path="$netns" --register=no --keep-unit \
      --machine="$machine" --hostname="$name" --console=pipe --capability=CAP_NET_ADMIN --resolv-conf=off --timezone=off \
      --link-journal=no --settings=no "$@"
  ) || status=$?
done
exit "$status"
