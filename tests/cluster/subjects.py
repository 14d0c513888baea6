"""The servers that are tested, their configuration, and what they cost.

`Ringd` and `Nginx` are started with the same files and reload the same changes.
"""

import json
import os
import random
import signal
import socket
import subprocess
import time

from judge import replace

CORES = sorted(os.sched_getaffinity(0))
START_MAX = 10  # Seconds.


RINGD = """\
[server]
driver = "{driver}"
workers = {workers}
idle-timeout = "{idle}"
drain-delay = "{delay}"

[[listen]]
address = {addresses}
{admin}
[[site]]
name = "main"
hosts = ["main.test"]
default = true
root = "{folder}/main-{variant}"
listing = {listing}
header = [{{ glob = "**", set = {{ "X-Generation" = "{generation}" }} }}]
"""

RINGD_EXTRA = """
[[site]]
name = "extra"
hosts = ["extra.test"]
root = "{folder}/extra-{variant}"
header = [{{ glob = "**", set = {{ "X-Generation" = "{generation}" }} }}]
"""

NGINX = """\
user root; worker_processes {workers}; worker_rlimit_nofile 16384; daemon off; pid {folder}/pid;
error_log {folder}/errors;
events {{ worker_connections 8192; multi_accept on; use epoll; }}
http {{
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on;
  keepalive_timeout {idle}; keepalive_requests 1000000000;
  open_file_cache max=4096 inactive=60s; open_file_cache_valid 1s; open_file_cache_errors on;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  add_header X-Generation {generation} always;
  server {{
    listen 127.0.0.1:{port} backlog=4096 default_server; server_name main.test;
    root {folder}/main-{variant}; autoindex {listing};
  }}
  {extra}
}}
"""

NGINX_EXTRA = """
  server {{
    listen 127.0.0.1:{port}; server_name extra.test; root {folder}/extra-{variant};
  }}"""


class Subject:
    """A server that runs. `folder` holds its configuration and its roots."""

    idle, workers = "1h", 1

    def __init__(self, folder, port, driver="auto", binary=None):
        self.folder, self.port, self.driver, self.binary = folder, port, driver, binary
        self.address = ("127.0.0.1", port)
        self.config = f"{folder}/{self.name}.conf"
        self.process = None

    def start(self):
        """Starts it on the first core, and waits until it answers."""
        with open(f"{self.folder}/log", "ab") as log:
            command = ["taskset", "-c", str(CORES[0]), *self.command()]
            pipes = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            self.process = subprocess.Popen(command, **pipes)
        self.pid = self.process.pid
        until = time.monotonic() + START_MAX
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > until:
                self.kill()
                with open(f"{self.folder}/log") as log:
                    raise SystemExit(f"{self.name} does not start: {log.read()}")
            time.sleep(0.01)

    def answers(self):
        """Whether it answers. To connect is not enough: the kernel may close the listener of a
        server that was killed a moment after its end."""
        try:
            with socket.create_connection(self.address, 1) as client:
                client.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
                return client.recv(4) == b"HTTP"
        except OSError:
            return False

    def reload(self):
        if self.process.poll() is None:
            os.kill(self.pid, signal.SIGHUP)

    def reload_command(self):
        """A command that reloads it and waits for the result."""
        return [self.binary, "reload", "-c", self.config]

    def kill(self):
        """Ends it at once, with its children."""
        for pid in reversed(tree(self.pid)):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()

    def stop(self):
        """Ends it. Returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode


class Ringd(Subject):
    """ringd. `admin` is the address of its admin socket, which SIGHUP does not need."""

    name = "ringd"
    admin, delay = None, "0s"

    def command(self):
        return [self.binary, "-c", self.config]

    def configure(self, generation):
        """Writes the configuration of a generation: its parity is the variant."""
        variant = generation % 2
        listen = getattr(self, "listen", [f"127.0.0.1:{self.port}"])
        values = {
            "folder": self.folder, "driver": self.driver, "delay": self.delay,
            "idle": self.idle, "workers": self.workers,
            "addresses": json.dumps(listen), "variant": variant, "generation": generation,
            "listing": "false" if variant else "true",
            "admin": f'\n[admin]\nlisten = "{self.admin}"\n' if self.admin else "",
        }
        text = RINGD + RINGD_EXTRA * variant
        replace(self.config, text.format(**values).encode())


class Nginx(Subject):
    """nginx."""

    name = "nginx"

    def command(self):
        return ["nginx", "-c", self.config]

    def configure(self, generation):
        variant = generation % 2
        values = {"folder": self.folder, "port": self.port, "variant": variant,
                  "idle": self.idle, "workers": self.workers}
        extra = (NGINX_EXTRA * variant).format(**values)
        listing = "off" if variant else "on"
        text = NGINX.format(**values, generation=generation, listing=listing, extra=extra)
        replace(self.config, text.encode())


def read(path):
    """The text of a file in /proc, or nothing if the process is gone."""
    try:
        with open(path) as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def tree(pid):
    """A process and its descendants, as far as they exist."""
    found = [pid]
    for process in found:
        try:
            tasks = os.listdir(f"/proc/{process}/task")
        except FileNotFoundError:
            continue
        for task in tasks:
            found += map(int, read(f"/proc/{process}/task/{task}/children").split())
    return found


def cpu(pid):
    """The CPU time of a server in seconds: of its threads, its children, and those that ended.

    The sum for the children that ended is in clock ticks of 10 ms.
    """
    total = 0.0
    for process in tree(pid):
        tasks = os.listdir(f"/proc/{process}/task") if os.path.exists(f"/proc/{process}") else []
        for task in tasks:
            fields = read(f"/proc/{process}/task/{task}/schedstat").split()
            total += int(fields[0]) / 1e9 if fields else 0
        fields = read(f"/proc/{process}/stat").rpartition(")")[2].split()
        if fields:
            total += (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    return total


def resident(pid):
    """RSS of the process, and the proportional share of all processes of the server, in KiB."""
    status = read(f"/proc/{pid}/status")
    rss = next((int(line.split()[1]) for line in status.splitlines() if "VmRSS" in line), 0)
    shares = 0
    for process in tree(pid):
        for line in read(f"/proc/{process}/smaps_rollup").splitlines():
            shares += int(line.split()[1]) if line.startswith("Pss:") else 0
    return rss, shares


def descriptors(pid):
    """The descriptors of all processes of a server: what each refers to, sorted."""
    found = []
    for process in tree(pid):
        try:
            for name in os.listdir(f"/proc/{process}/fd"):
                try:
                    # Without the number of a socket, which is never the same.
                    found.append(os.readlink(f"/proc/{process}/fd/{name}").partition("[")[0])
                except FileNotFoundError:
                    pass
        except FileNotFoundError:
            pass
    return sorted(found)


def free_port():
    """A port that is free, and that the kernel gives to no client: while the server is down, a
    client could connect to itself and take the port."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        first = int(file.read().split()[0])
    for port in random.sample(range(max(1024, first - 8192), first), 100):
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass
    raise SystemExit("no free port was found")


def machine():
    """The machine, in one line."""
    lines = read("/proc/cpuinfo").splitlines()
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "CPU")
    release, load = os.uname().release, os.getloadavg()[0]
    return f"{model}, {len(CORES)} cores, Linux {release}, load {load:.1f} at the start"
