#!/usr/bin/env python3
"""What a request costs ringd and other servers that serve the same files.

    python3 docs/measure-peers.py target/release/ringd
    python3 docs/measure-peers.py target/release/ringd --servers nginx uring --works small big

Each server has one worker on the first core and is loaded from the last one. Servers that are not
installed are left out, with a line that says so (Debian: apt install nginx lighttpd h2o wrk).
Within a round all servers take turns at each work, in an order that is reversed every other round.
The figure is the CPU time of the server per request: the median of the rounds with the minimum and
the maximum. After the × is the ratio to the first server of the list, as the median of the ratios
within each round. The load generator is wrk, a closed loop on one core. It may be slower than the
server, which then idles in between; that affects rates, but hardly CPU time per request. Latencies
are measured by an open loop in this script, at a rate that is the same for all servers. They count
from the time a request was due, so a server that stalls cannot hide it.
"""

import collections
import contextlib
import gc
import os
import random
import re
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from measuring import CORES, Server, ask, check_binary, cpu, free_port, machine, make_parser
from measuring import number, spread, table

NGINX = """
worker_processes 1; worker_rlimit_nofile 16384; daemon off; pid {folder}/pid;
error_log {folder}/errors;
events {{ worker_connections 8192; multi_accept on; use epoll; }}
http {{
  types {{ application/octet-stream bin; }}
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on;
  keepalive_timeout 600; keepalive_requests 1000000000;
  open_file_cache max=4096 inactive=60s; open_file_cache_valid 1s; open_file_cache_errors on;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{ listen 127.0.0.1:{port} backlog=4096; root {root}; }}
}}
"""

LIGHTTPD = """
server.document-root = "{root}"
server.bind = "127.0.0.1"
server.port = {port}
server.max-fds = 16384
server.max-worker = 0
server.max-keep-alive-requests = 1000000000
server.max-keep-alive-idle = 600
server.event-handler = "linux-sysepoll"
server.network-backend = "sendfile"
mimetype.assign = ( ".bin" => "application/octet-stream" )
"""

H2O = """
num-threads: 1
http1-request-timeout: 600
listen: {{ host: 127.0.0.1, port: {port} }}
hosts: {{ default: {{ paths: {{ "/": {{ file.dir: "{root}" }} }} }} }}
"""

LWAN = """
threads = 1
quiet = true
keep_alive_timeout = 600
listener 127.0.0.1:{port}
site {{ serve_files / {{
  path = {root}
  serve precompressed files = false
}} }}
"""

# The settings of each, and the arguments that come before their file.
PEERS = {
    "nginx": (NGINX, ["-c"]),
    "lighttpd": (LIGHTTPD, ["-D", "-f"]),
    "h2o": (H2O, ["-c"]),
    "lwan": (LWAN, ["-c"]),
}
DRIVERS = ["uring", "epoll"]

MANY = 1000
PIPELINED = 16
SIZES = {"1k": 1 << 10, "16k": 16 << 10, "100k": 100 << 10, "1m": 1 << 20, "64m": 64 << 20}

# The requests: connections, the file, further fields, the expected status, and a description.
WORKS = {
    "small": (64, "1k.bin", {}, 200, "1 KiB, 64 connections"),
    "page": (64, "16k.bin", {}, 200, "16 KiB, 64 connections"),
    "photo": (64, "100k.bin", {}, 200, "100 KiB, 64 connections"),
    "mega": (32, "1m.bin", {}, 200, "1 MiB, 32 connections"),
    "big": (8, "64m.bin", {}, 200, "64 MiB, 8 connections"),
    "pipe": (64, "1k.bin", {}, 200, "1 KiB, 16 pipelined"),
    "close": (64, "1k.bin", {"Connection": "close"}, 200, "1 KiB, a connection for each"),
    "many": (64, "many/0.bin", {}, 200, "4 KiB, 1,000 files at random"),
    "304": (64, "1k.bin", {}, 304, "304, the client has it"),
    "404": (64, "nothing", {}, 404, "404, there is no such file"),
    "206": (64, "1k.bin", {"Range": "bytes=100-199"}, 206, "206, 100 bytes of 1 KiB"),
}

# For wrk: one request after the other, or several at once; prints the results for this script.
SCRIPT = """
local fields, paths, depth = {%(fields)s}, %(paths)d, %(depth)d
local fixed
init = function()
  local requests = {}
  for number = 1, depth do requests[number] = wrk.format("GET", "/%(path)s", fields) end
  fixed = table.concat(requests)
end
request = function()
  if paths == 1 then return fixed end
  return wrk.format("GET", "/many/" .. math.random(0, paths - 1) .. ".bin", fields)
end
done = function(summary)
  local errors = summary.errors
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format("FIGURES %%d %%d %%d", summary.requests, summary.bytes, broken))
end
"""


def make_files(root):
    """The files that all servers serve: incompressible bytes, the same in each run."""
    os.makedirs(f"{root}/many", exist_ok=True)
    names = {f"{name}.bin": size for name, size in SIZES.items()}
    names |= {f"many/{number}.bin": 4096 for number in range(MANY)}
    source = random.Random(1)
    for name, size in names.items():
        with open(f"{root}/{name}", "wb") as file:
            file.write(source.randbytes(size))
    # A tag is strong once its file is two seconds old.
    past = time.time() - 3600
    for name in names:
        os.utime(f"{root}/{name}", (past, past))


def command(name, options, folder, port):
    """The command line of a server."""
    if name in DRIVERS:
        listen = f"127.0.0.1:{port}"
        choice = ["--workers", "1", "--driver", name, "--listen", listen, "--drain-timeout", "0s"]
        return [options.binary, "serve", options.root, *choice]
    settings, arguments = PEERS[name]
    path = f"{folder}/{name}.conf"
    with open(path, "w") as file:
        file.write(settings.format(root=options.root, port=port, folder=folder))
    return [options.found[name], *arguments, path]


def check(server, work):
    """Sends one request and checks its answer. Returns the approximate length with the head,
    and the fields to send."""
    _, path, fields, status, _ = WORKS[work]
    if status == 304:
        known = ask(server.address, f"/{path}", {})[1]
        conditions = {"etag": "If-None-Match", "last-modified": "If-Modified-Since"}
        fields = {asks: known[name] for name, asks in conditions.items() if name in known}
    found, head, body = ask(server.address, f"/{path}", fields)
    length = next((size for name, size in SIZES.items() if path == f"{name}.bin"), 4096)
    right = {200: length, 206: 100, 304: 0}.get(status, len(body))
    if (found, len(body)) != (status, right):
        raise ValueError(f"{found} with {len(body)} bytes, where {status} with {right} is right")
    return len(body) + sum(len(name) + len(value) + 4 for name, value in head.items()) + 19, fields


def trial(server, work, options):
    """CPU time of a server per request, in microseconds."""
    connections, path, _, _, _ = WORKS[work]
    length, fields = check(server, work)
    escaped = ((name, value.replace('"', '\\"')) for name, value in fields.items())
    fields = ", ".join(f'["{name}"] = "{value}"' for name, value in escaped)
    depth, paths = PIPELINED if work == "pipe" else 1, MANY if work == "many" else 1
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT % {"fields": fields, "paths": paths, "depth": depth, "path": path})
        script.flush()
        load = ["taskset", "-c", str(CORES[-1]), "wrk", "-t1", f"-c{connections}"]
        load += [f"-d{options.seconds}s", "-s", script.name]
        before = cpu(server.pid)
        url = "http://{}:{}/".format(*server.address)
        output = subprocess.run([*load, url], capture_output=True, text=True).stdout
        spent = cpu(server.pid) - before
    figures = re.search(r"FIGURES (\d+) (\d+) (\d+)", output)
    if not figures:
        raise ValueError(f"wrk failed: {output}")
    requests, volume, broken = map(int, figures.groups())
    if broken > requests / 1000:
        raise ValueError(f"{broken} requests failed beside {requests}")
    # The last large answers are incomplete, but have cost CPU time all the same.
    requests = volume / length if work in ("mega", "big") else requests
    return spent / requests


def latencies(server, options):
    """The median and the 99th percentile in microseconds, at a rate that is given.

    Requests are due at random moments (a Poisson process), the same for all servers. One that is
    due goes out on a connection that is free, or waits for one.
    """
    path = WORKS["small"][1]
    request = f"GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    check(server, "small")
    with contextlib.ExitStack() as stack:
        poller = stack.enter_context(select.epoll())
        gc.disable()
        stack.callback(gc.enable)
        streams = {}
        for _ in range(WORKS["small"][0]):
            stream = stack.enter_context(socket.create_connection(server.address))
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            poller.register(stream, select.EPOLLIN)
            streams[stream.fileno()] = stream
        found = sorted(open_loop(poller, streams, request, options))
    return [found[int(len(found) * part)] * 1e6 for part in (0.5, 0.99)]


def open_loop(poller, streams, request, options):
    """How long each answer took, in seconds, from when its request was due."""
    free, waiting, source, found = collections.deque(streams), {}, random.Random(2), []
    now = due = time.perf_counter()
    end = now + options.seconds
    while due < end or waiting:
        while due <= now and due < end and free:
            descriptor = free.popleft()
            waiting[descriptor] = due
            streams[descriptor].send(request)
            due += source.expovariate(options.rate)
        for descriptor, _ in poller.poll(0):
            # An answer this small comes in one piece.
            if len(streams[descriptor].recv(8192)) < SIZES["1k"]:
                raise ValueError("an answer came in pieces, or not at all")
            found.append(time.perf_counter() - waiting.pop(descriptor))
            free.append(descriptor)
        now = time.perf_counter()
        if now > end + 10:
            raise ValueError(f"{len(waiting)} answers are missing")
    return found


def run_round(turn, options, costs, delays):
    """Starts all servers, and measures them in turns at each work."""
    names = options.servers if turn % 2 == 0 else options.servers[::-1]
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="measure-peers-"))
        os.chmod(folder, 0o755)
        servers = {}
        for name in names:
            port = free_port()
            running = Server(command(name, options, folder, port), port)
            servers[name] = stack.enter_context(running)
        for work in options.works:
            print(f"round {turn + 1} of {options.rounds}: {work}", file=sys.stderr)
            for name in names:
                figure = attempt(name, work, lambda: trial(servers[name], work, options))
                costs[work][name].append(figure)
        for name in names if options.rate else []:
            figure = attempt(name, "latency", lambda: latencies(servers[name], options))
            delays[name].append(figure or [None, None])


def attempt(name, work, measure):
    """A figure, or None and a line about it: one server's failure does not end the run."""
    try:
        return measure()
    except (OSError, ValueError) as error:
        print(f"{name}, {work}: {error}", file=sys.stderr)
        return None


def cell(values, first):
    """The cost of a server, and its ratio to the first one."""
    pairs = [(mine, its) for mine, its in zip(values, first) if mine and its]
    if values is first or not pairs:
        return spread(values)
    return f"{spread(values)} ×{statistics.median(mine / its for mine, its in pairs):.2f}"


def version(name, options):
    binary = options.binary if name in DRIVERS else options.found[name]
    flag = "--version" if name in DRIVERS + ["lwan"] else "-v"
    done = subprocess.run([binary, flag], capture_output=True, text=True, timeout=5)
    return (re.search(r"\d+(\.\d+)+", done.stdout + done.stderr) or ["unknown"])[0]


def find_servers(options):
    """Keeps the servers that are installed."""
    given = {"lwan": options.lwan}
    path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    options.found = {name: given.get(name) or shutil.which(name, path=path) for name in PEERS}
    for name in [name for name in options.servers if name not in DRIVERS]:
        if not options.found[name]:
            remedy = "give --lwan BINARY" if name == "lwan" else "not installed"
            print(f"{name} is left out: {remedy}", file=sys.stderr)
            options.servers.remove(name)


def report(options, costs, delays):
    first = options.servers[0]
    if options.works:
        ratio = f"median [min..max] of the rounds ({options.rounds}) × ratio to {first}"
        print(f"CPU time of the server per request, µs: {ratio}\n")
        rows = [[f"{work}: {WORKS[work][4]}"] for work in options.works]
        for work, row in zip(options.works, rows):
            row += [cell(costs[work][name], costs[work][first]) for name in options.servers]
        table(["work", *options.servers], rows)
    if options.rate:
        print(f"Latency of the small file at {number(options.rate)} requests a second, µs\n")
        head = ["server", "median", "99th percentile"]
        table(head, [[name, *map(spread, zip(*delays[name]))] for name in options.servers])


def main():
    parser = make_parser(__doc__)
    everybody = [*PEERS, *DRIVERS]
    parser.add_argument("binary", help="the release build of ringd")
    servers = {"choices": everybody, "default": everybody}
    parser.add_argument("--servers", nargs="+", help="to measure", **servers)
    parser.add_argument("--lwan", help="the binary of lwan, for which there is no package")
    works = {"choices": WORKS, "default": list(WORKS)}
    parser.add_argument("--works", nargs="*", help="what to measure", **works)
    parser.add_argument("--rate", type=float, default=4000, help="latency rate; 0: none")
    parser.add_argument("--seconds", type=int, default=1, help="whole seconds of each trial")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; their median is printed")
    options = parser.parse_args()
    check_binary(parser, options.binary)
    find_servers(options)
    if not shutil.which("wrk") and options.works:
        print("only latencies are measured: wrk is not installed", file=sys.stderr)
        options.works = []
    costs = collections.defaultdict(lambda: collections.defaultdict(list))
    delays = collections.defaultdict(list)
    os.sched_setaffinity(0, CORES[-1:])
    with tempfile.TemporaryDirectory(prefix="measure-peers-") as options.root:
        # Servers that are started as root drop to another user, which must be able to read this.
        os.chmod(options.root, 0o755)
        make_files(options.root)
        versions = [f"{name} {version(name, options)}" for name in options.servers]
        print(f"{machine()}\n{', '.join(versions)}\n", flush=True)
        for turn in range(options.rounds):
            run_round(turn, options, costs, delays)
    report(options, costs, delays)


if __name__ == "__main__":
    main()
