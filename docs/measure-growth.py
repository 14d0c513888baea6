#!/usr/bin/env python3
"""How the cost of a request grows: with connections, sizes, files, workers, idle connections.

    python3 docs/measure-growth.py target/release/ringd
    python3 docs/measure-growth.py target/release/ringd --axes idle --json new.json --plots plots

For each axis there is a table (Markdown, on standard output) and a plot (--plots). A cell of a
table is the median of the rounds, with the minimum and the maximum. The server has the first core,
the client the last one. Drivers take turns in each round. There are two clients:

- `ringd bench`, for connections, for sizes up to 64 KiB and for workers: 1 KiB and 64 connections
  unless the axis says otherwise, all of them always busy. It measures between two marks, after a
  warm-up, and checks every answer. Workers share all cores but the last; on a machine with two
  cores, two workers share one, which shows what sharing costs and not what a core adds.
- the client of this script, for what `ringd bench` cannot do: large bodies, which the kernel
  discards (MSG_TRUNC) so that the client is not the bottleneck, random paths, idle connections. It
  sends requests on all connections at once (64, for large bodies 4), and counts complete answers.

Large files (1 MiB and more) are sparse: they have no blocks on the disk, and are read from the page
cache like others once they are in it. The files of the axis of that name are sparse too, with 64
bytes each and 1,000 to a directory. There, each request is for a random file: with more files than
the cache of a worker holds (2,048), nearly every request is a miss, which opens and reads a file.
"""

import collections
import json
import os
import random
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from growth_plot import Panel, Plot
from measuring import CORES, Server, check_binary, cpu, free_port, machine, make_parser
from measuring import pss, raise_descriptors, spread, table

BUSY = 64
SMALL = 1024
FILE = 64
MIB = 1 << 20

# The client of this script requests larger bodies, on this many connections.
BENCH_MAX = 64 << 10
BUSY_LARGE = 4

# With more connections than this, a trial takes longer in proportion.
FEW_UNDER_WAY = 3500

# linux/in.h; see ip(7).
IP_BIND_ADDRESS_NO_PORT = 24

# A source address has more ports than this, but finding a free one takes longer and longer.
PORTS_OF_ADDRESS = 10_000

# Descriptors besides the connections, and the cache entries that leave room for them.
DESCRIPTORS_BESIDES = 300
CACHE_ENTRIES = 64


def connect(address, count, first=0):
    """Connections to a server, from as many addresses as they need."""
    streams = []
    for turn in range(first, first + count):
        stream = socket.socket()
        # The port is chosen in connect(), when the destination is known.
        stream.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        stream.bind((f"127.0.{1 + turn // PORTS_OF_ADDRESS}.1", 0))
        stream.connect(address)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        streams.append(stream)
    return streams


class Client:
    """Connections that each send the next request as soon as they have an answer."""

    def __init__(self, streams, path):
        """`path` makes the path of each request."""
        self.path = path
        self.streams = {stream.fileno(): stream for stream in streams}
        self.left = {descriptor: 0 for descriptor in self.streams}
        self.sink = bytearray(4 * MIB)
        self.poller = select.epoll()
        for descriptor in self.streams:
            self.poller.register(descriptor, select.EPOLLIN)

    def ask(self, descriptor):
        request = f"GET {self.path()} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        self.streams[descriptor].send(request.encode())

    def receive(self, descriptor):
        """Reads what has arrived, and returns whether the answer is complete."""
        stream = self.streams[descriptor]
        if self.left[descriptor]:
            size = min(self.left[descriptor], len(self.sink))
            got = stream.recv_into(self.sink, size, socket.MSG_TRUNC)
            if not got:
                raise ConnectionError("an answer was not complete")
            self.left[descriptor] -= got
        else:
            # The head comes in one piece.
            head, end, body = stream.recv(16384).partition(b"\r\n\r\n")
            status, _, fields = head.lower().partition(b"\r\n")
            if not end or b" 200 " not in status:
                raise ConnectionError(f"this is not the answer: {head.decode()}")
            length = int(fields.split(b"content-length:")[1].split(b"\r\n")[0])
            self.left[descriptor] = length - len(body)
        return self.left[descriptor] == 0

    def run(self, seconds):
        """Sends requests for `seconds`; returns the number of answers, all complete."""
        end, count, asked = time.monotonic() + seconds, 0, len(self.streams)
        for descriptor in self.streams:
            self.ask(descriptor)
        while asked:
            for descriptor, _ in self.poller.poll():
                if self.receive(descriptor):
                    count += 1
                    if time.monotonic() < end:
                        self.ask(descriptor)
                    else:
                        asked -= 1
        return count

    def close(self):
        self.poller.close()
        for stream in self.streams.values():
            stream.close()


def ringd(options, driver, root, *more):
    """A server with one worker."""
    port = free_port()
    command = [options.binary, "serve", root, "--workers", "1", "--driver", driver]
    command += ["--listen", f"127.0.0.1:{port}", "--drain-timeout", "0s", *more]
    return Server(command, port)


def cost(server, client, seconds):
    """CPU time of a server per request, in microseconds."""
    before = cpu(server.pid)
    count = client.run(seconds)
    return (cpu(server.pid) - before) / count


def take_turns(options, measure):
    """A row of figures for each driver: those of all rounds, by name."""
    found = {driver: collections.defaultdict(list) for driver in options.drivers}
    for turn in range(options.rounds):
        for driver in options.drivers if turn % 2 == 0 else options.drivers[::-1]:
            for name, value in measure(driver).items():
                found[driver][name].append(value)
    return found


def bench(options, size=SMALL, connections=BUSY, workers=1):
    """A row of figures for each driver, from `ringd bench`."""
    trials = len(options.drivers) * options.rounds
    # Answers in progress at a mark are counted on the wrong side of it: they must be few.
    seconds = options.seconds * max(1, connections / FEW_UNDER_WAY)
    command = [options.binary, "bench", "--json", "--driver", ",".join(options.drivers)]
    command += ["--size", str(size), "--connections", str(connections), "--shape", "keep-alive"]
    command += ["--workers", str(workers), "--rounds", str(options.rounds)]
    # It divides the time: a fifth is for the warm-up, and starting a server takes some.
    command += ["--time", f"{round(trials * (seconds * 1.25 + 0.06) * 1000)}ms"]
    if connections > 1000:
        command += ["--", "--max-connections", str(connections + 16)]
        command += ["--cache-entries", str(CACHE_ENTRIES)]
    # It picks a core for itself, and needs to see them all.
    whole = {"preexec_fn": lambda: os.sched_setaffinity(0, CORES)}
    done = subprocess.run(command, capture_output=True, text=True, **whole)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    names = {"cpu": "cpu_microseconds", "rate": "requests_per_second"}
    found = {}
    for result in json.loads(done.stdout)["rows"][0]["results"]:
        rounds = result["figures"]["rounds"]
        found[result["server"]] = {
            name: [trial[theirs] for trial in rounds] for name, theirs in names.items()
        }
    return found


def by_connections(options):
    for connections in options.connections:
        if connections + DESCRIPTORS_BESIDES > options.descriptors:
            yield connections, f"the limit of descriptors is {options.descriptors}"
        else:
            yield connections, bench(options, connections=connections)


def by_size(options):
    for size in options.sizes:
        found = bench(options, size=size) if size <= BENCH_MAX else large(options, size)
        for figures in found.values() if size else []:
            figures["cpu_mib"] = [value / size * MIB for value in figures["cpu"]]
        yield size, found


def large(options, size):
    """Bodies that are too large for `ringd bench`."""
    with tempfile.TemporaryDirectory(prefix="measure-growth-", dir=options.files) as root:
        with open(f"{root}/large.bin", "wb") as file:
            file.truncate(size)

        def measure(driver):
            with ringd(options, driver, root) as server:
                client = Client(connect(server.address, BUSY_LARGE), lambda: "/large.bin")
                client.run(0)
                figures = {"cpu": cost(server, client, options.seconds)}
                client.close()
                return figures

        return take_turns(options, measure)


def by_files(options):
    for count in options.counts:
        with tempfile.TemporaryDirectory(prefix="measure-growth-", dir=options.files) as root:
            make_files(root, count)
            yield count, take_turns(options, lambda driver: files(options, driver, root, count))


def make_files(root, count):
    """Small files, without blocks: freeing a million of those can take a disk many minutes."""
    for number in range(count):
        folder = f"{root}/{number // 1000}"
        if number % 1000 == 0:
            os.mkdir(folder)
        descriptor = os.open(f"{folder}/{number}.bin", os.O_WRONLY | os.O_CREAT, 0o644)
        os.ftruncate(descriptor, FILE)
        os.close(descriptor)


def files(options, driver, root, count):
    source = random.Random(count)

    def path():
        number = source.randrange(count)
        return f"/{number // 1000}/{number}.bin"

    with ringd(options, driver, root) as server:
        client = Client(connect(server.address, BUSY), path)
        client.run(options.seconds / 4)
        figures = {"cpu": cost(server, client, options.seconds)}
        figures |= {"memory": pss(server.pid) / 1024, "start": server.start * 1000}
        client.close()
        return figures


def by_workers(options):
    for workers in options.workers:
        yield workers, bench(options, workers=workers)


def by_idle(options):
    for count in options.idle:
        if count + BUSY + DESCRIPTORS_BESIDES > options.descriptors:
            yield count, f"the limit of descriptors is {options.descriptors}"
        else:
            yield count, take_turns(options, lambda driver: idle(options, driver, count))


def idle(options, driver, count):
    bounds = ["--max-connections", str(count + BUSY + 16), "--idle-timeout", "10min"]
    bounds += ["--cache-entries", str(CACHE_ENTRIES)]
    with tempfile.TemporaryDirectory(prefix="measure-growth-", dir=options.files) as root:
        with open(f"{root}/small.bin", "wb") as file:
            file.write(bytes(SMALL))
        with ringd(options, driver, root, *bounds) as server:
            client = Client(connect(server.address, BUSY), lambda: "/small.bin")
            client.run(options.seconds / 4)
            memory = pss(server.pid)
            # Each gets an answer before it is idle, in groups that do not fill the backlog.
            quiet = []
            for first in range(0, count, 1000):
                some = Client(connect(server.address, min(1000, count - first), first), client.path)
                some.run(0)
                quiet.append(some)
            grown = (pss(server.pid) - memory) / count if count else None
            figures = {"cpu": cost(server, client, options.seconds), "memory": grown}
            for clients in [client, *quiet]:
                clients.close()
            return figures


def size_name(size):
    for unit, name in [(1 << 30, "GiB"), (MIB, "MiB"), (1 << 10, "KiB")]:
        if size >= unit:
            return f"{size // unit} {name}"
    return f"{size} B"


def count_name(count):
    return f"{count:,}"


# How an axis is measured, what it is called, how a place on it is, and the figures it has: their
# key, what they are, and whether their scale is logarithmic; those without a scale have no plot.
Axis = collections.namedtuple("Axis", "measure title label name figures")

AXES = {
    "connections": Axis(
        by_connections, "Connections that are all busy", "connections", count_name,
        [("cpu", "CPU µs per request", "linear")],
    ),
    "size": Axis(
        by_size, "The size of the body", "bytes of the body", size_name,
        [("cpu", "CPU µs per request", "log"), ("cpu_mib", "CPU µs per MiB", "log")],
    ),
    "files": Axis(
        by_files, "Files that are asked for at random", "files", count_name,
        [("cpu", "CPU µs per request", "linear"), ("memory", "memory of the server, MiB", "linear"),
         ("start", "start, ms", None)],
    ),
    "workers": Axis(
        by_workers, "Workers", "workers", count_name,
        [("cpu", "CPU µs per request", "linear"), ("rate", "requests per second", "linear")],
    ),
    "idle": Axis(
        by_idle, "Idle connections beside 64 busy ones", "idle connections", count_name,
        [("cpu", "CPU µs per request", "linear"),
         ("memory", "memory per idle connection, KiB", "linear")],
    ),
}


def measure(options):
    """All figures: for each axis, a list of places with the figures of each driver."""
    found = {}
    for name in options.axes:
        found[name] = []
        for place, figures in AXES[name].measure(options):
            words = figures if isinstance(figures, str) else ""
            print(f"{name}: {AXES[name].name(place)} {words}", file=sys.stderr)
            if not words:
                found[name].append([place, figures])
    return found


def report(found):
    """Prints a table for each axis: a row for each place on it."""
    for name, places in found["axes"].items():
        axis = AXES[name]
        print(f"{axis.title}\n")
        columns = [(driver, figure) for figure in axis.figures for driver in found["drivers"]]
        head = [axis.label] + [f"{driver}: {title}" for driver, (_, title, _) in columns]
        rows = []
        for place, figures in places:
            cells = [spread(figures[driver].get(key, [])) for driver, (key, _, _) in columns]
            rows.append([axis.name(place), *cells])
        table(head, rows)


def draw(found, folder):
    """Draws a plot for each axis."""
    spreads = f"median of the rounds ({found['rounds']}); thin lines: minimum and maximum"
    notes = [found["machine"], spreads]
    for name, places in found["axes"].items():
        axis, panels = AXES[name], []
        for key, title, scale in axis.figures:
            if scale is None:
                continue
            lines = {driver: [] for driver in found["drivers"]}
            for place, figures in places:
                for driver, line in lines.items():
                    known = [it for it in figures[driver].get(key, []) if it is not None]
                    if known:
                        middle = statistics.median(known)
                        line.append((place, middle, min(known), max(known)))
            panels.append(Panel(title, scale, lines))
        plot = Plot(axis.title, notes, axis.label, axis.name, panels)
        with open(f"{folder}/performance-{name}.svg", "w") as file:
            file.write(plot.svg())


def main():
    parser = make_parser(__doc__)
    parser.add_argument("binary", nargs="?", help="the release build of ringd")
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES), help="axes")
    parser.add_argument("--drivers", nargs="+", default=["uring", "epoll"], help="drivers")
    parser.add_argument("--seconds", type=float, default=1, help="seconds of each trial")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; their median is printed")
    parser.add_argument("--json", metavar="FILE", help="write all figures, of every round")
    parser.add_argument("--read", metavar="FILE", help="take what --json wrote; measure nothing")
    parser.add_argument("--plots", metavar="DIRECTORY", help="draw performance-AXIS.svg into it")
    parser.add_argument("--files", metavar="DIRECTORY", help="create temporary files in it")
    numbers = {"type": int, "nargs": "+", "metavar": "NUMBER"}
    sizes = [0, 1 << 10, 4 << 10, 8 << 10, 16 << 10, 64 << 10, MIB, 16 * MIB, 256 * MIB, 1 << 30]
    connections, counts = [1, 8, 64, 512, 4096, 14000], [1, 1000, 100_000, 1_000_000]
    workers, idle = sorted({1, 2, len(CORES)}), [0, 1000, 4000, 18000]
    parser.add_argument("--connections", default=connections, help="busy connections", **numbers)
    parser.add_argument("--sizes", default=sizes, help="bytes of the body", **numbers)
    parser.add_argument("--counts", default=counts, help="numbers of files", **numbers)
    parser.add_argument("--workers", default=workers, help="workers of the server", **numbers)
    parser.add_argument("--idle", default=idle, help="idle connections", **numbers)
    options = parser.parse_args()
    if options.read:
        with open(options.read) as file:
            found = json.load(file)
    elif options.binary:
        check_binary(parser, options.binary)
        options.descriptors = raise_descriptors()
        os.sched_setaffinity(0, CORES[-1:])
        found = {"machine": machine(), "drivers": options.drivers, "rounds": options.rounds}
        found |= {"seconds": options.seconds, "axes": measure(options)}
    else:
        parser.error("name the binary, or a file to --read")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(found, file, indent=1)
    if options.plots:
        os.makedirs(options.plots, exist_ok=True)
        draw(found, options.plots)
    print(f"{found['machine']}; rounds: {found['rounds']}, of {found['seconds']} s each\n")
    report(found)


if __name__ == "__main__":
    main()
