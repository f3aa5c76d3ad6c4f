#!/bin/sh
# Makes this process the systemd of a machine of its own: a copy-on-write view of this host's system in fresh namespaces.
# Called by machine.py under unshare. Nothing it does outlives the process or is seen outside of its mount namespace.
#   boot.sh FOLDER CGROUP SOURCE SITE_PACKAGES PYTHON
# With - for SOURCE redirectd is not installed. With fewer words it only tries what the kernel must allow, and ends:
#   boot.sh FOLDER CGROUP
set -eu
folder=$1 cgroup=$2
root=$folder/root

if [ "${own_cgroup:-}" != "$cgroup" ]; then
    mount --make-rprivate /
    mount -t tmpfs -o mode=755 tmpfs "$folder"
    mkdir "$folder/upper" "$folder/work" "$folder/cgroup" "$root"
    mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$root"
    # Two machines in one cgroup would take each other's processes for their own, and wait in vain for them to end.
    mount -t cgroup2 cgroup2 "$folder/cgroup"
    here=$folder/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
    mkdir -p "$here/$cgroup"
    if [ $# -lt 3 ]; then
        rmdir "$here/$cgroup"
        exit
    fi
    echo 0 >"$here/$cgroup/cgroup.procs"
    own_cgroup=$cgroup exec unshare --cgroup sh "$0" "$@"
fi
source=$3 site=$4 python=$5
umount "$folder/cgroup"

# The kernel is shared with the host: its settings must not be changed from in here.
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"

mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm"
for device in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 "$root/dev/${device%%:*}" c 1 "${device##*:}"
done
mknod -m 666 "$root/dev/tty" c 5 0
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"

if [ "$source" != - ]; then
    # redirectd and its Python, where ProtectHome= does not hide them.
    mkdir -p "$root/opt/redirectd/source" "$root/opt/redirectd/site" "$root/opt/redirectd/python"
    mount --bind "$source" "$root/opt/redirectd/source"
    mount --bind "$site" "$root/opt/redirectd/site"
    mount --bind "$python" "$root/opt/redirectd/python"
    cat >"$root/usr/bin/redirectd" <<'END'
#!/bin/sh
export PYTHONPATH=/opt/redirectd/source:/opt/redirectd/site LD_LIBRARY_PATH=/opt/redirectd/python/lib
exec /opt/redirectd/python/bin/python3 -m redirectd "$@"
END
    chmod 755 "$root/usr/bin/redirectd"
    cp "$source"/systemd/*.service "$source"/systemd/*.timer "$root/usr/lib/systemd/system/"
    cp "$source/systemd/redirectd.sysusers" "$root/usr/lib/sysusers.d/redirectd.conf"
    cp "$source/systemd/redirectd.tmpfiles" "$root/usr/lib/tmpfiles.d/redirectd.conf"
fi

# What the host has enabled is none of this machine's business.
for unit in timers.target systemd-modules-load.service systemd-sysctl.service systemd-remount-fs.service \
    systemd-udevd.service systemd-udev-trigger.service systemd-journald-audit.socket systemd-timesyncd.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
rm -rf "$root/etc/redirectd" "$root/var/lib/redirectd" "$root/var/log/journal"
: >"$root/etc/fstab"

ip link set lo up
cd "$root"
mkdir -p old
pivot_root . old
umount -l old
# As nspawn does: a service's credentials are mounted in a namespace of their own and must be seen in its.
mount --make-rshared /
exec env -i container=redirectd-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --unit=basic.target --log-target=journal --show-status=no
