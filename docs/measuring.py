"""What the scripts share: options, servers, their CPU time and memory, and statistics.

Servers run on the first core that this process may use and clients on the last one, so that they
do not take time from each other. CPU time is that of all threads of all processes of a server, from
/proc/PID/task/*/schedstat. It is in nanoseconds and hardly depends on other work on the machine.
"""

import argparse
import http.client
import os
import platform
import resource
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

CORES = sorted(os.sched_getaffinity(0))


class Defaults(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the default of each option that has one."""

    def _get_help_string(self, action):
        return action.help if action.default is None else super()._get_help_string(action)


def make_parser(text):
    """A parser of options; the first line of `text` says what the script is for."""
    return argparse.ArgumentParser(description=text.split("\n")[0], formatter_class=Defaults)


def check_binary(parser, path):
    """Ends the script, with a remedy, unless there is a program at this path."""
    if not shutil.which(path):
        remedy = "cargo build --release makes target/release/ringd"
        parser.error(f"there is no program {path}; {remedy}")


def tree(pid):
    """A process, and its children."""
    found = [pid]
    for process in found:
        for task in os.listdir(f"/proc/{process}/task"):
            with open(f"/proc/{process}/task/{task}/children") as file:
                found += [int(child) for child in file.read().split()]
    return found


def cpu(pid):
    """CPU time of all threads of a server, in microseconds."""
    total = 0
    for process in tree(pid):
        for task in os.listdir(f"/proc/{process}/task"):
            with open(f"/proc/{process}/task/{task}/schedstat") as file:
                total += int(file.read().split()[0])
    return total / 1000


def pss(pid):
    """Memory of a server, in KiB, without the kernel's."""
    total = 0
    for process in tree(pid):
        with open(f"/proc/{process}/smaps_rollup") as file:
            total += next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    return total


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """A running server, which ends with the `with` block."""

    def __init__(self, command, port):
        """Starts it on the first core and waits until it accepts; `start` is the seconds needed."""
        self.log = tempfile.TemporaryFile()
        self.address = ("127.0.0.1", port)
        begun = time.monotonic()
        pipes = {"stdin": subprocess.DEVNULL, "stdout": self.log, "stderr": self.log}
        self.process = subprocess.Popen(["taskset", "-c", str(CORES[0]), *command], **pipes)
        self.pid = self.process.pid
        while True:
            try:
                socket.create_connection(self.address, 1).close()
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() > begun + 10:
                    self.stop()
                    self.log.seek(0)
                    raise SystemExit(f"{command[0]} did not start: {self.log.read().decode()}")
                time.sleep(0.001)
        self.start = time.monotonic() - begun

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self.log.close()


def ask(address, path, fields):
    """One request: returns the status, the fields by lower-case name, and the body."""
    connection = http.client.HTTPConnection(*address, timeout=10)
    connection.request("GET", path, headers=fields)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


def raise_descriptors():
    """Raises the limit of descriptors as far as allowed, for this process and its children."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def machine():
    """The machine on which the figures were measured, in one line."""
    with open("/proc/cpuinfo") as file:
        lines = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    cores = f"{len(CORES)} core" + ("s" if len(CORES) > 1 else "")
    load = f"load {os.getloadavg()[0]:.1f} at the start"
    return f"{lines[0] if lines else 'CPU'}, {cores}, Linux {platform.release()}; {load}"


def number(value):
    """At most three significant digits."""
    if value is None:
        return "-"
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}"


def spread(values):
    """The median of the rounds, with the minimum and the maximum."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    median = number(statistics.median(known))
    return f"{median} [{number(min(known))}..{number(max(known))}]"


def table(head, rows):
    """Prints a table, in Markdown; the first column is text."""
    print("| " + " | ".join(head) + " |")
    print("| --- |" + " ---: |" * (len(head) - 1))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)
