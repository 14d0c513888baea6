#!/usr/bin/env python3
"""What echoing a line costs with each driver of ringd, as idle connections are added.

    python3 docs/measure-drivers.py target/release/ringd --idle 1 100 1000 10000

For each number of idle connections and each driver, the script starts `ringd echo --workers 1`,
opens the idle connections and leaves them alone, while others (--busy) send a line each and wait
for its echo, again and again. The columns are: CPU time and system calls of the server per line,
its CPU time per second without any lines, its memory per idle connection (PSS, without the
kernel's memory for sockets), its threads. A round goes through all drivers, and the median of the
rounds is printed. CPU time is from /proc/PID/task/*/schedstat. Counting system calls needs `perf`
and the permission to use it; otherwise the column is "-".
"""

import os
import resource
import select
import shutil
import signal
import socket
import statistics
import subprocess
import time

from measuring import check_binary, make_parser

DRIVERS = ["threads", "spin", "select", "poll", "sigio", "epoll-lt", "epoll", "uring"]
LINE = b"hello\n"


def cpu(pid):
    """CPU time of all threads, in microseconds."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as file:
            total += int(file.read().split()[0])
    return total / 1000


def pss(pid):
    """Memory of the process, in KiB."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))


def connect(address):
    stream = socket.create_connection(address)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def exchange(streams, seconds):
    """Sends lines for `seconds`, one on each stream at a time, and returns how many."""
    end, count = time.monotonic() + seconds, 0
    while count == 0 or time.monotonic() < end:
        for stream in streams:
            stream.sendall(LINE)
        for stream in streams:
            if stream.recv(64) != LINE:
                raise ConnectionError
        count += len(streams)
    return count


def open_idle(address, count):
    """Opens `count` connections, and waits until the server has accepted them all."""
    streams = [connect(address) for _ in range(count)]
    exchange(streams[-1:], 0)
    # A refused connection is readable: it has the end of input, or an error.
    poller = select.poll()
    for stream in streams:
        poller.register(stream, select.POLLIN)
    if poller.poll(0):
        raise ConnectionError
    return streams


def calls_per_line(pid, streams):
    """System calls of the server for each line, counted by the kernel."""
    if not shutil.which("perf"):
        return None
    (control, commands), (replies, answer) = os.pipe(), os.pipe()
    command = ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", str(pid)]
    command += ["--delay=-1", f"--control=fd:{control},{answer}"]
    pipes = {"stderr": subprocess.PIPE, "pass_fds": [control, answer]}
    perf = subprocess.Popen(command, text=True, **pipes)
    os.close(answer)
    count = 0
    os.write(commands, b"enable\n")
    if os.read(replies, 64):  # Nothing if perf has failed.
        count = exchange(streams, 0.3)
        os.write(commands, b"disable\n")
        os.read(replies, 64)
    perf.send_signal(signal.SIGINT)
    figures = [line.split(",")[0] for line in perf.communicate()[1].splitlines()]
    for end in control, commands, replies:
        os.close(end)
    return next((int(figure) / count for figure in figures if figure.isdigit() and count), None)


def measure(binary, driver, idle, busy):
    """One row of figures, or None if the driver refuses so many connections."""
    command = [binary, "echo", "--workers", "1", "--driver", driver, "--listen", "127.0.0.1:0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    pid = server.pid
    try:
        line = server.stdout.readline()
        host, port = line.split("echoing at ")[1].split(";")[0].rsplit(":", 1)
        address = (host, int(port))
        active = [connect(address) for _ in range(busy)]
        exchange(active, 0.2)
        memory = pss(pid)
        quiet = open_idle(address, idle)
        memory = (pss(pid) - memory) / len(quiet)
        threads = len(os.listdir(f"/proc/{pid}/task"))
        exchange(active, 0.1)
        before = cpu(pid)
        count = exchange(active, 0.6)
        per_line = (cpu(pid) - before) / count
        calls = calls_per_line(pid, active)
        before, begun = cpu(pid), time.monotonic()
        time.sleep(0.5)
        rest = (cpu(pid) - before) / 1000 / (time.monotonic() - begun)
        return [per_line, calls, rest, memory, threads]
    except ConnectionError:
        return None
    finally:
        server.kill()
        server.wait()


def main():
    parser = make_parser(__doc__)
    parser.add_argument("binary", help="the release build of ringd")
    idle = [1, 100, 1000, 10000]
    parser.add_argument("--idle", type=int, nargs="+", default=idle, help="idle connections")
    parser.add_argument("--busy", type=int, default=1, help="connections that send lines")
    parser.add_argument("--drivers", nargs="+", default=DRIVERS, help="drivers to compare")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; their median is printed")
    options = parser.parse_args()
    check_binary(parser, options.binary)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print("  idle  driver      us/line  calls/line  ms/s at rest  KiB/idle  threads")
    for idle in options.idle:
        rows = {driver: [] for driver in options.drivers}
        for _ in range(options.rounds):
            for driver, found in rows.items():
                found.append(measure(options.binary, driver, idle, options.busy))
        for driver, found in rows.items():
            found = [row for row in found if row is not None]
            line = f"{idle:>6}  {driver:<9}"
            widths, digits = [9, 11, 13, 9, 8], [1, 1, 2, 1, 0]
            for column, width, digit in zip(zip(*found), widths, digits):
                known = [figure for figure in column if figure is not None]
                figure = f"{statistics.median(known):.{digit}f}" if known else "-"
                line += f" {figure:>{width}}"
            print(line if found else f"{line}   refuses so many", flush=True)


if __name__ == "__main__":
    main()
