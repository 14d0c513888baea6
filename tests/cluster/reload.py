#!/usr/bin/env python3
"""Reloads a server many times under mixed load, and checks every answer.

    python3 tests/cluster/reload.py --driver uring
    python3 tests/cluster/reload.py --server nginx
    python3 tests/cluster/reload.py --prove

The server runs on the first core, with one worker; the clients share one thread on the last core.
There are 64 clients that keep their connection open, 16 with a connection for each request, 8 that
send 16 requests at a time, 16 that download 1 MiB slowly, and 50 that are mostly idle. `load.py`
says how they behave and what is counted.

Odd and even generations of the configuration differ in the root, a response field, listings, and
one site more. Each generation has its number in X-Generation, and each file says which variant it
belongs to, so an answer that mixes two configurations is found. A reload is due 1/RATE seconds
after the one before. It is sent only when an answer of the one before has been seen, so none is
skipped; the rate that was reached is printed. One that is not seen within 5 s is `missed`.

The run alternates between quiet parts, without reloads, and parts with reloads, so other work on
the machine affects both alike. Requests come at a fixed rate, so both get the same load. The CPU
time of a reload is the CPU time per second with reloads, minus that of the quiet parts, divided by
the reloads a second. Memory and descriptors are compared at rest, without clients, after each file
was requested once.

The exit code is 1 if ringd violates a bound: no error, reset, short body, mixed or stale
generation, unexpected status, missed reload, or connection that was closed; as many descriptors as
before, at most 4 MiB more memory, and a 99.9th percentile of at most twice that of the quiet parts.
nginx is shown against the same bounds, but they are ringd's, so they do not fail it.

--prove breaks something for each check, on purpose, and fails if the check does not notice it. It
first runs with nothing broken, because a check that fails then proves nothing.
"""

import argparse
import collections
import gc
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from judge import EXTRA, HOST, LARGE, LISTING, PAGE, SMALL, STALE, Judge, replace
from load import Client, Load, Request, percentile
from subjects import CORES, Nginx, Ringd, cpu, descriptors, free_port, machine, resident, tree

SEEN_MAX = 5.0
REST_MAX = 60.0
MEMORY_MAX = 4096  # KiB
RATIO_MAX = 2.0
INSIDE = "RELOAD_INSIDE"

# What --prove breaks: name -> the check that has to notice it.
BREAKS = {
    "nothing": None,
    "replaced file": "mixed", "truncated file": "short", "deleted file": "non-200",
    "killed server": "reset", "ended server": "error", "old generation": "stale",
    "lost signal": "missed", "short idle timeout": "closed", "left connections": "descriptors",
    "filled cache": "memory", "stopped server": "latency",
}


class Reloader:
    """Sends reloads, and knows from the answers when each has taken effect.

    Files are written and commands are run in a thread, because they may wait for a disk; the
    clients would wait with them, and the server would seem to be slow.
    """

    def __init__(self, load, server, rate, command):
        self.load, self.server, self.rate, self.command = load, server, rate, command
        self.generation = self.left = self.sent = 0
        self.refused = self.processes = 0
        self.waiting = self.working = False  # For an answer of the new generation; the thread.
        self.switches, self.history = [], collections.deque()
        self.lose = self.back = False  # For --prove.
        self.work = queue.SimpleQueue()
        threading.Thread(target=self.operate, daemon=True).start()
        load.seen = self.saw

    def saw(self, generation):
        if self.waiting and generation == self.generation:
            now = time.perf_counter()
            self.switches.append(now - self.sent)
            self.history.append((now + STALE, generation))
            self.waiting = False

    def begin(self, count):
        self.left, self.due = count, time.perf_counter()
        self.step()

    def gone(self):
        """Whether the server has ended by itself."""
        return self.server.process.poll() is not None

    def busy(self):
        return (self.left > 0 or self.waiting or self.working) and not self.gone()

    def step(self):
        now = time.perf_counter()
        if self.gone():
            return self.load.at(now + 0.01, self.step)
        while self.history and self.history[0][0] <= now:
            self.load.floor = self.history.popleft()[1]
        if self.waiting and not self.working and now - self.sent > SEEN_MAX:
            self.load.count("missed", f"generation {self.generation}")
            self.waiting = False
        if not (self.waiting or self.working) and now >= self.due:
            if self.left == 0:
                return
            self.left -= 1
            self.generation += 1
            self.due = max(self.due + 1 / self.rate, now)
            self.waiting = self.working = True
            self.work.put(self.generation - 20 * self.back)
        if self.busy():
            self.load.at(max(self.due, now + 0.001), self.step)

    def operate(self):
        """The thread: writes the configuration and reloads the server."""
        while True:
            self.server.configure(self.work.get())
            self.processes = max(self.processes, len(tree(self.server.pid)))
            self.sent = time.perf_counter()
            if self.lose:
                self.lose = False
            elif self.command:
                command = self.server.reload_command()
                self.refused += subprocess.call(command, stdout=subprocess.DEVNULL) != 0
            else:
                self.server.reload()
            self.working = False


def populate(load):
    """The clients of the load."""
    small = [Request(HOST, path) for path in SMALL]
    pages = [Request(host, PAGE) for host in (HOST, EXTRA)]
    own = [Request(host, path, close=True) for host, path in
           [(HOST, LISTING), (EXTRA, PAGE), *((HOST, path) for path in SMALL)]]
    large = [Request(HOST, path) for path in LARGE]
    for _ in range(64):
        Client(load, small + pages, 0.05, sort="kept open")
    for _ in range(16):
        Client(load, own, 0.05, sort="own connection", own=True)
    for _ in range(8):
        Client(load, small + pages, 0.1, sort="pipelining", depth=16)
    for _ in range(16):
        Client(load, large, 0.1, sort="slow", chunk=32768, pause=0.03, receive_buffer=65536)
    for _ in range(50):
        Client(load, small + pages + [Request(HOST, LISTING)], 4, sort="idle")


def rest(server, judge, floor):
    """Requests each file, ends all connections, and measures the server at rest."""
    load = Load(server.address, judge)
    load.floor = floor
    # Each connection is for a worker that the kernel chooses, and each worker has a cache.
    times = 1 if server.workers == 1 else 16 * server.workers
    for path in [*SMALL, PAGE, *LARGE, LISTING] * times:
        client = Client(load, [Request(HOST, path)], 1e6)
        client.begin(time.perf_counter())
        load.run(5, lambda client=client: not client.pending)
    load.finish()
    if load.counts["answers"] != times * (len(SMALL) + len(LARGE) + 2):
        raise SystemExit(f"the server does not answer at rest: {dict(load.counts)}")
    until = time.monotonic() + REST_MAX
    before, since = descriptors(server.pid), time.monotonic()
    while time.monotonic() < until and time.monotonic() - since < 1.5:
        time.sleep(0.05)
        now = descriptors(server.pid)
        if len(now) != len(before):
            before, since = now, time.monotonic()
    return before, *resident(server.pid)


class Run:
    """A whole run against one server."""

    def __init__(self, options, server, judge, broken=None):
        self.options, self.server, self.judge, self.broken = options, server, judge, broken
        self.load = Load(server.address, judge)
        self.reloader = Reloader(self.load, server, options.rate, options.command)
        self.peak = 0
        self.spent = {"quiet": [0.0, 0.0], "reload": [0.0, 0.0]}

    def part(self, phase, seconds, until=None):
        """Runs one part of the load and adds its time and the server's CPU time."""
        self.load.phase = phase
        begun, before = time.perf_counter(), cpu(self.server.pid)
        self.load.run(seconds, until)
        self.spent[phase][0] += time.perf_counter() - begun
        self.spent[phase][1] += cpu(self.server.pid) - before
        self.load.phase = None

    def settle(self, base):
        """Lets processes of old generations end."""
        until = time.perf_counter() + REST_MAX
        while len(tree(self.server.pid)) > base and time.perf_counter() < until:
            self.load.run(0.2)
        self.load.run(0.5)

    def reloads(self, count):
        self.reloader.begin(count)
        self.part("reload", 60 + count * SEEN_MAX, lambda: not self.reloader.busy())

    def go(self):
        options, load = self.options, self.load
        base = len(tree(self.server.pid))
        populate(load)
        load.run(1)
        # The same as later, so that all memory that it needs has been touched.
        self.reloader.begin(min(40, 2 * (options.reloads // 2)))
        load.run(60, lambda: not self.reloader.busy())
        self.settle(base)
        load.finish()
        self.before = rest(self.server, self.judge, load.floor)
        load.counts.clear()
        load.examples.clear()
        self.reloader.switches.clear()
        populate(load)
        load.run(1)
        each = options.reloads // options.parts // 2 * 2
        for number in range(options.parts):
            self.part("quiet", each / options.rate)
            if number == 0 and self.broken:
                load.at(time.perf_counter() + 0.5, self.breakage)
            self.reloads(each)
            self.peak = max(self.peak, resident(self.server.pid)[1])
            self.settle(base)
        load.finish()
        left = self.linger() if self.broken == "left connections" else None
        if self.server.process.poll() is None:
            self.after = rest(self.server, self.judge, load.floor)
        else:
            self.after = ([], 0, 0)
        del left

    def breakage(self):
        """Breaks what --prove wants to be broken."""
        server, kind, load = self.server, self.broken, self.load
        root = f"{server.folder}/main-0"
        if kind == "replaced file":
            replace(root + SMALL[3], self.judge.files["main", 1][SMALL[3]])
        elif kind == "truncated file":
            for path in LARGE:
                os.truncate(root + path, 1000)
        elif kind == "deleted file":
            os.remove(root + SMALL[3])
        elif kind == "killed server":
            # What waits in the sockets of a server that ends is reset.
            self.signal(signal.SIGSTOP)
            load.run(0.2)
            server.kill()
            server.start()
        elif kind == "ended server":
            server.kill()
            load.run(0.3)
            server.start()
        elif kind == "old generation":
            self.reloader.back = True
            load.at(time.perf_counter() + 1, setattr, self.reloader, "back", False)
        elif kind == "lost signal":
            self.reloader.lose = True
        elif kind == "filled cache":
            self.fill_cache(root)
        elif kind == "stopped server":
            self.stop_for_a_moment(6)

    def signal(self, number):
        for pid in tree(self.server.pid):
            os.kill(pid, number)

    def stop_for_a_moment(self, times):
        self.signal(signal.SIGSTOP)
        time.sleep(0.2)
        self.signal(signal.SIGCONT)
        if times > 1:
            self.load.at(time.perf_counter() + 0.05, self.stop_for_a_moment, times - 1)

    def linger(self):
        """Connections that the server still has when it is measured at the end."""
        load = Load(self.server.address, self.judge)
        clients = [Client(load, [Request(HOST, PAGE)], 1e6) for _ in range(3)]
        load.run(0.2)
        return load, clients

    def fill_cache(self, root):
        """Makes the server use more memory, by requests for many files, at the very end."""
        for number in range(1500):
            replace(f"{root}/more-{number}.txt", b"x" * 8000)
        finish = self.load.finish

        def fill():
            finish()
            load = Load(self.server.address, lambda *_: None)
            for number in range(1500):
                client = Client(load, [Request(HOST, f"/more-{number}.txt", True)], 1e6, own=True)
                client.begin(time.perf_counter())
                load.run(2, lambda client=client: not client.pending)
            load.stop()

        self.load.finish = fill

    def latency(self, phase, sort="kept open"):
        values = self.load.latencies[phase, sort]
        return [1e6 * percentile(values, share) for share in (0.5, 0.99, 0.999)]

    def checks(self):
        """The bounds: name -> (whether it holds, what was found)."""
        counts = self.load.counts
        checks = {}
        errors = counts["error"] + counts["unanswered"] + self.reloader.refused
        checks["error"] = errors == 0, errors
        for kind in ("reset", "short", "non-200", "mixed", "stale", "missed"):
            checks[kind] = counts[kind] == 0, counts[kind]
        closed = counts["closed"] + counts["announced"]
        checks["closed"] = closed == 0, closed
        before, after = len(self.before[0]), len(self.after[0])
        checks["descriptors"] = before == after, f"{before} before, {after} after"
        grown = self.after[1] - self.before[1]
        checks["memory"] = 0 < self.after[1] and grown <= MEMORY_MAX, f"{grown:+,} KiB"
        quiet, reload = self.latency("quiet")[2], self.latency("reload")[2]
        ratio = reload / quiet
        checks["latency"] = ratio <= RATIO_MAX, f"p99.9 ×{ratio:.2f}"
        return checks

    def report(self):
        """Prints what was counted and measured."""
        load, reloader = self.load, self.reloader
        (quiet_s, quiet_cpu), (reload_s, reload_cpu) = self.spent["quiet"], self.spent["reload"]
        count = len(reloader.switches)
        extra = reload_cpu - quiet_cpu / quiet_s * reload_s
        counts = {kind: number for kind, number in sorted(load.counts.items())}
        print(f"answers {counts.pop('answers'):,}, and counted: {counts or 'nothing else'}")
        print(f"reloads seen: {count}, {count / reload_s:.1f} a second")
        print(f"processes at a time, at most: {reloader.processes}")
        times = [1e3 * percentile(reloader.switches, share) for share in (0.5, 0.99, 1)]
        print("from a reload to its first answer, ms: p50 %.1f p99 %.1f max %.1f" % tuple(times))
        print(f"CPU of the server, s a second: {quiet_cpu / quiet_s:.3f} quiet, "
              f"{reload_cpu / reload_s:.3f} with reloads")
        print(f"CPU of a reload, ms: {1e3 * extra / max(1, count):.2f}")
        for sort in ("kept open", "own connection", "pipelining"):
            quiet, reload = self.latency("quiet", sort), self.latency("reload", sort)
            texts = ["p50 %.0f p99 %.0f p99.9 %.0f" % tuple(row) for row in (quiet, reload)]
            print(f"{sort}, µs: quiet {texts[0]}; with reloads {texts[1]}")
        for what, place in ("RSS of the process", 1), ("PSS of all processes", 2):
            print(f"{what}, KiB: {self.before[place]:,} before, {self.after[place]:,} after")
        print(f"PSS of all processes after the last reload of a part, KiB: {self.peak:,}")
        for kind, examples in load.examples.items():
            for example in examples:
                print(f"    {kind}: {example}")

    def judge_run(self):
        """Prints the bounds. Returns those that do not hold."""
        checks = self.checks()
        for name, (holds, found) in checks.items():
            print(f"  {'ok' if holds else 'NO':3} {name}: {found}")
        if not checks["descriptors"][0]:
            before, after = map(collections.Counter, (self.before[0], self.after[0]))
            print(f"      more: {dict(after - before)}; fewer: {dict(before - after)}")
        return [name for name, (holds, _) in checks.items() if not holds]


def run(options, broken=None):
    """Starts the server, runs, and stops it. Returns the bounds that do not hold."""
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    folder = tempfile.mkdtemp(prefix="reload-", dir=memory)
    try:
        judge = Judge(1 << 20)
        judge.write(folder)
        kind = {"ringd": Ringd, "nginx": Nginx}[options.server]
        server = kind(folder, free_port(), options.driver, options.binary)
        server.workers = options.workers
        if options.command:
            server.admin = f"unix:{folder}/admin.sock"
        if broken == "short idle timeout":
            server.idle = "1s"
        server.configure(0)
        server.start()
        try:
            run = Run(options, server, judge, broken)
            gc.disable()
            run.go()
            gc.enable()
            if not broken:
                run.report()
            failed = run.judge_run()
        finally:
            code = server.stop()
        if code != 0:
            with open(f"{folder}/log") as log:
                print(f"the server ended with {code}; its log: {log.read()[-2000:]}")
            failed.append("exit")
        return failed
    finally:
        shutil.rmtree(folder)


def prove(options):
    """Breaks one thing after the other. Returns what was not noticed."""
    options.reloads, options.parts = 40, 1
    unnoticed, always = [], []
    for broken, check in BREAKS.items():
        if options.only not in (None, broken):
            continue
        print(f"{broken}: {f'{check} has to fail' if check else 'all have to hold'}", flush=True)
        failed = run(options, broken)
        if check is None:
            always = failed
        elif check not in failed or check in always:
            unnoticed.append(broken)
            print("  NOT NOTICED" if check not in failed else "  IT ALWAYS FAILS")
    return unnoticed


def enter_namespace():
    """Runs this script again in a network of its own, where the buffer of a socket holds at most
    128 KiB. The default is 4 MiB: a slow download of 1 MiB would be over for the server at once."""
    if INSIDE in os.environ:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        with open("/proc/sys/net/ipv4/tcp_wmem", "w") as file:
            file.write("4096 16384 131072")
        return
    unshare = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "-rn"]
    if shutil.which("ip") and subprocess.call([*unshare, "true"]) == 0:
        os.environ[INSIDE] = "1"
        os.execvp(unshare[0], [*unshare, sys.executable, *sys.argv])
    print("no network namespace (unshare -n): slow downloads may fit into the buffers of sockets")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--server", choices=["ringd", "nginx"], default="ringd")
    parser.add_argument("--driver", default="auto", help="driver of ringd")
    parser.add_argument("--binary", default="target/release/ringd", help="path of ringd")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--reloads", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=20, help="reloads a second, at most")
    parser.add_argument("--parts", type=int, default=5, help="parts with reloads, and without")
    parser.add_argument("--command", action="store_true", help="`ringd reload` instead of SIGHUP")
    parser.add_argument("--prove", action="store_true", help="break something for each check")
    parser.add_argument("--only", choices=list(BREAKS), help="with --prove: break only this")
    options = parser.parse_args()
    enter_namespace()
    needed = options.binary if options.server == "ringd" else "nginx"
    if not shutil.which(needed):
        parser.error(f"there is no program {needed}; build or install it")
    # So that what was started and made is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.sched_setaffinity(0, {CORES[-1]})
    name = f"ringd --driver {options.driver}" if options.server == "ringd" else "nginx"
    print(f"{name}; {machine()}", flush=True)
    if options.prove:
        unnoticed = prove(options)
        print(f"not noticed: {', '.join(unnoticed)}" if unnoticed else "each check can fail")
        return bool(unnoticed)
    failed = run(options)
    print(f"bounds of ringd that do not hold: {', '.join(failed)}" if failed else "all bounds hold")
    return bool(failed) and options.server == "ringd"


if __name__ == "__main__":
    sys.exit(main())
