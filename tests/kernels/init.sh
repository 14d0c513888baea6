#!/bin/busybox sh
# The first process of the emulated machine: prepares it, runs the steps, and powers it off.
#
# The results go to the second serial port; the first one is the kernel's console. A line that
# begins with `@@` says where a step begins and how it ended; run.py reads these lines.

/bin/busybox --install -s /bin
export PATH=/bin

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null # The kernel may have mounted it already.
mkdir /dev/shm
ip link set lo up
exec </dev/null >/dev/ttyS1 2>&1
stty -F /dev/ttyS1 raw

# The hard limit that systemd sets: the kernel's own limit of 4096 is too low for some tests.
ulimit -Hn 524288
ulimit -Sn 16384
chmod 1777 /tmp /dev/shm

# step NAME SECONDS COMMAND: runs a command as an ordinary user, as a server should run.
step() {
    echo "@@ begin $1"
    timeout -k 5 "$2" su tester -c "exec $3"
    echo "@@ end $1 $?"
}

echo "@@ kernel $(uname -r)"
. /steps
echo "@@ done"
# What was written has to leave the serial port first.
sleep 1
poweroff -f
