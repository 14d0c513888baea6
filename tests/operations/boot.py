#!/usr/bin/env python3
"""Installs the package in a Debian that boots, and uses its units as an operator does.

    sudo python3 tests/operations/boot.py target/debian/ringd_*.deb        # 3 minutes

`mmdebstrap` makes the system, `systemd-nspawn` boots it, with a network of its own. What is tried, while
a client asks for a page all the time, with a connection for each request:

    install     the user, the files; the service is not started
    service     start, reload, a reload of a mistake, rotation of the log, a restart after KILL
    socket      with ringd.socket, restarts refuse nobody; without it they do, which shows that the
                client counts
    take-over   ringd@b, ringd@a and so on take over, and lose nothing
    upgrade     the service is restarted, the configuration stays; ringd.socket refuses nobody
    purge       nothing is left but the user; a server that has taken over ends, too

Where that is not possible, it says why it is skipped, and the exit code is 0. `--system DIR` takes a
system that mmdebstrap has made, and leaves it there.
"""

import argparse
import collections
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

PACKAGES = "systemd,systemd-sysv,dbus,logrotate,curl"
CONFIG = "/etc/ringd/ringd.toml"
LEFT_BY_NONE = ("/etc/ringd", "/var/log/ringd", "/run/ringd", "/usr/share/ringd", "/usr/bin/ringd",
                "/usr/lib/systemd/system/ringd.service", "/etc/logrotate.d/ringd")
LARGE = "/usr/share/ringd/html/large"
REQUEST = b"GET /robots.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def ask(seconds):
    """The client: prints how many answers of each kind it got, and the longest time for one."""
    found, longest, end = collections.Counter(), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.monotonic()
        try:
            with socket.create_connection(("127.0.0.1", 80), 10) as client:
                client.sendall(REQUEST)
                answer = b"".join(iter(lambda: client.recv(65536), b""))
                found[answer[9:12].decode() or "no answer"] += 1
        except OSError as error:
            found[error.strerror or str(error)] += 1
        longest = max(longest, time.monotonic() - begun)
        time.sleep(0.002)
    print(f"{dict(found)}, the longest took {1000 * longest:.0f} ms")
    return int(set(found) != {"200"})


def hold():
    """A client that does not read its answer: the server waits for it until `drain-timeout` is over."""
    with socket.create_connection(("127.0.0.1", 80), 10) as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(60)


class System:
    """The Debian, before and after its start."""

    def __init__(self, folder, log):
        self.folder, self.log, self.process, self.pid = folder, log, None, None

    def path(self, name):
        return self.folder + name

    def run(self, *command, fails=False):
        """Runs a command in the system. Returns its output."""
        if self.pid:
            enter = ["nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", "-C", "--"]
        else:
            enter = ["chroot", self.folder]
        path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
        command = [*enter, "env", path, *command]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if (done.returncode != 0) != fails:
            text = done.stdout + done.stderr + self.journal()
            raise SystemExit(f"FAILED: {' '.join(command)}: {done.returncode}\n{text}")
        return done.stdout

    def journal(self):
        if not self.pid:
            return ""
        enter = ["nsenter", "-t", str(self.pid), "-m", "-p", "--"]
        command = [*enter, "journalctl", "--no-pager", "-n", "20", "-u", "ringd*"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def boot(self):
        command = ["systemd-nspawn", "-q", "--register=no", "--keep-unit", "--private-network",
                   "--console=pipe", "--boot", "-D", self.folder]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log)
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        until = time.monotonic() + 60
        while time.monotonic() < until and self.process.poll() is None:
            with open(children) as file:
                found = file.read().split()
            if found and os.path.exists(f"/proc/{found[0]}/root/run/systemd/private"):
                self.pid = int(found[0])
                self.run("systemctl", "is-system-running", "--wait")
                return True
            time.sleep(0.2)
        return False

    def client(self, *options):
        """This script as a client, in the network of the system."""
        command = ["nsenter", "-t", str(self.pid), "-n", sys.executable, __file__, *options]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def asking(self, seconds):
        return self.client("--ask", str(seconds))

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.pid = None


def edit(system, old, new):
    with open(system.path(CONFIG)) as file:
        text = file.read()
    if old not in text:
        raise SystemExit(f"FAILED: {CONFIG} has no {old!r}")
    with open(system.path(CONFIG), "w") as file:
        file.write(text.replace(old, new))


def good(what, text):
    print(f"{what}: {text}", flush=True)


def install(system, package):
    shutil.copy(package, system.path("/root/ringd.deb"))
    system.run("dpkg", "-i", "/root/ringd.deb")
    user = system.run("getent", "passwd", "ringd").strip()
    system.run("ringd", "check", CONFIG)
    good("install", user)


def answers(system):
    status = system.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1/")
    if status != "200":
        raise SystemExit(f"FAILED: the answer is {status}\n{system.journal()}")


def service(system):
    system.run("systemctl", "is-active", "ringd", fails=True)
    system.run("systemctl", "start", "ringd")
    system.run("ringd", "health", "-c", CONFIG)
    answers(system)
    system.run("systemctl", "reload", "ringd")
    edit(system, "[server]", "[server]\nworkerz = 1")
    system.run("systemctl", "reload", "ringd", fails=True)
    edit(system, "[server]\nworkerz = 1", "[server]")
    system.run("systemctl", "reload", "ringd")
    time.sleep(1)
    system.run("logrotate", "-f", "/etc/logrotate.d/ringd")
    time.sleep(2)
    answers(system)
    time.sleep(1)
    logs = system.run("ls", "/var/log/ringd").split()
    if logs != ["access.log", "access.log.1"]:
        raise SystemExit(f"FAILED: the logs are {logs}")
    system.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", "ringd")
    time.sleep(3)
    system.run("systemctl", "is-active", "ringd")
    answers(system)
    driver = system.run("journalctl", "--no-pager", "-o", "cat", "-u", "ringd")
    driver = driver.partition("driver: ")[2].partition(";")[0]
    good("service", f"answers 200, reloads, rotates, and is back after KILL; {driver}")


def restarts(system, what, expected):
    """Restarts the service five times."""
    client = system.asking(15)
    time.sleep(1)
    for _ in range(5):
        system.run("systemctl", "restart", "ringd")
        time.sleep(1)
    text = client.communicate()[0].strip()
    if client.returncode != expected:
        raise SystemExit(f"FAILED: 5 restarts, {what}: {text}\n{system.journal()}")
    good(what, f"5 restarts: {text}")


def hold_port(system):
    """From now on, ringd.socket has the port."""
    system.run("systemctl", "stop", "ringd")
    edit(system, 'listen = ":80"', 'listen = "fd:http"')
    system.run("systemctl", "start", "ringd.socket", "ringd")


def leave_port(system):
    """From now on, the server has the port again; it is not started."""
    system.run("systemctl", "stop", "ringd.socket", "ringd")
    edit(system, 'listen = "fd:http"', 'listen = ":80"')


def sockets(system):
    restarts(system, "without a socket unit", 1)
    hold_port(system)
    restarts(system, "with ringd.socket", 0)
    leave_port(system)


def take_over(system):
    system.run("systemctl", "start", "ringd")
    client = system.asking(18)
    time.sleep(1)
    before = "ringd"
    for name in ("ringd@b", "ringd@a", "ringd@b", "ringd@a"):
        system.run("systemctl", "start", name)
        time.sleep(2.5)
        system.run("systemctl", "is-active", name)
        system.run("systemctl", "is-active", before, fails=True)
        system.run("systemctl", "is-failed", before, fails=True)
        before = name
    text = client.communicate()[0].strip()
    if client.returncode != 0:
        raise SystemExit(f"FAILED: take-over: {text}\n{system.journal()}")
    good("take-over", f"4 times: {text}")
    system.run("systemctl", "stop", before)


def upgrade(system):
    edit(system, 'drain-timeout = "30s"', 'drain-timeout = "3s"')
    hold_port(system)
    first = system.run("systemctl", "show", "-P", "MainPID", "ringd")
    system.run("rm", "-rf", "/root/next")
    system.run("dpkg-deb", "-R", "/root/ringd.deb", "/root/next")
    system.run("sed", "-i", r"s/^\(Version: .*\)/\1+next/", "/root/next/DEBIAN/control")
    system.run("dpkg-deb", "-Znone", "-b", "/root/next", "/root/next.deb")
    # While the old server waits for this client, the next ones are in the queue of the socket.
    system.run("truncate", "-s", "64M", LARGE)
    holding = system.client("--hold")
    time.sleep(1)
    client = system.asking(12)
    time.sleep(1)
    system.run("dpkg", "-i", "/root/next.deb")
    system.run("systemctl", "is-active", "ringd", "ringd.socket")
    text = client.communicate()[0].strip()
    holding.kill()
    holding.wait()
    system.run("rm", LARGE)
    if client.returncode != 0:
        raise SystemExit(f"FAILED: upgrade with ringd.socket: {text}\n{system.journal()}")
    edit(system, 'drain-timeout = "3s"', 'drain-timeout = "30s"')
    if system.run("systemctl", "show", "-P", "MainPID", "ringd") == first:
        raise SystemExit("FAILED: the service runs the old program after the upgrade")
    good("upgrade", f"the service was restarted, and the configuration is the same: {text}")
    leave_port(system)


def purge(system):
    system.run("systemctl", "start", "ringd")
    system.run("systemctl", "start", "ringd@b")
    answers(system)
    system.run("dpkg", "-P", "ringd")
    for name in LEFT_BY_NONE:
        # Of the running system, where /run is a file system of its own.
        system.run("test", "-e", name, fails=True)
    system.run("systemctl", "is-active", "ringd", "ringd@b", fails=True)
    system.run("curl", "-s", "http://127.0.0.1/", fails=True)
    good("purge", "nothing is left, and ringd@b has ended")


def unable():
    if os.geteuid() != 0:
        return "only root may boot a system"
    for program, package in (("mmdebstrap", "mmdebstrap"), ("systemd-nspawn", "systemd-container"),
                             ("nsenter", "util-linux")):
        if not shutil.which(program):
            return f"there is no {program}; apt install {package}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("package", nargs="?")
    parser.add_argument("--system", help="a folder with a Debian")
    parser.add_argument("--ask", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--hold", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        return ask(options.ask)
    if options.hold:
        return hold()
    if not options.package:
        parser.error("name the package")
    reason = unable()
    if reason:
        print(f"skipped: {reason}")
        return 0
    made = None if options.system else tempfile.mkdtemp(prefix="boot-")
    folder = options.system or made
    with tempfile.TemporaryFile() as log:
        system = System(folder, log)
        try:
            if made:
                command = ["mmdebstrap", "-q", "--variant=minbase", f"--include={PACKAGES}",
                           "bookworm", folder]
                if subprocess.run(command, check=False).returncode != 0:
                    print("skipped: mmdebstrap cannot make a Debian here")
                    return 0
            install(system, options.package)
            # The limit is for a service that fails, not for a test that restarts it.
            drop_in = system.path("/etc/systemd/system/ringd.service.d")
            os.makedirs(drop_in, exist_ok=True)
            with open(f"{drop_in}/test.conf", "w") as file:
                file.write("[Unit]\nStartLimitIntervalSec=0\n")
            if not system.boot():
                log.seek(0)
                print(f"skipped: the system does not boot: {log.read().decode()[-500:]}")
                return 0
            for step in (service, sockets, take_over, upgrade, purge):
                step(system)
        finally:
            system.stop()
            if made:
                shutil.rmtree(made, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
