#!/usr/bin/env python3
"""Runs ringd under mixed load for a long time, and checks every answer.

    python3 docs/soak.py target/release/ringd --driver uring --minutes 30 --svg soak.svg

The script creates a tree of files and serves it with `ringd serve`. A few processes (--processes)
request the files in every way: whole, by ranges, with conditions, pipelined, slowly, with invalid
requests, and on connections that break. Another process changes some of the files meanwhile: it
rewrites them in place, replaces them by rename, or deletes and recreates them. The content of a
file follows from its name, its version and the offset. So every part of an answer is checked, and
an answer that mixes two versions is detected. (The answer for a file that is rewritten in place may
be mixed or cut off; for these only lengths are checked.)

The server is sampled every --every seconds. The columns are: minutes since the start, memory in KiB
(PSS and RSS; the kernel's memory for sockets is in neither), descriptors and how many of them are
sockets, threads, answers so far, CPU time in seconds. At the end the load stops, and all
connections must be gone. Memory, or a count of descriptors, is "flat" if its least-squares line
over the second half of the run rises by less than 5 % of its mean. Otherwise it RISES: look at the
samples. CPU time per answer is printed for each third of the run. A run of less than 5 minutes is
too short to show a trend.

The exit code is 1 if an answer was wrong, a connection was left, or the server did not stop
properly.
"""

import collections
import json
import multiprocessing
import os
import queue
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

from measuring import check_binary, make_parser

BLOCK = 4096
PAD = random.Random(1).randbytes(2 * BLOCK)
WAIT_MAX = 30  # Seconds for an answer.
STALE = 5  # Seconds: twice the default of --revalidate, and what a busy machine adds.
EXAMPLES = 3  # Of each kind of error, printed at the end.
JUDGED = 5  # Minutes: a shorter run shows no trend.

# Name -> bytes. Names that end in .gz and .br stand beside another file.
SIZES = {f"small/{number:03}.txt": number * 37 % 9000 for number in range(200)}
SIZES |= {f"middle/{number:02}.js": 5000 + number * 9973 for number in range(20)}
SIZES |= {f"middle/{number:02}.js{end}": 3000 + number * 991
          for number in range(0, 20, 2) for end in (".gz", ".br")}
SIZES |= {"empty.txt": 0, "large/1.bin": 1 << 20, "large/4.bin": (4 << 20) + 1,
          "large/16.bin": 16 << 20}
# Files that change; their size depends on their version.
RENAMED = [f"change/renamed-{number}.bin" for number in range(6)]
REWRITTEN = [f"change/rewritten-{number}.bin" for number in range(3)]
REMADE = [f"change/remade-{number}.bin" for number in range(3)]
CHANGING = RENAMED + REWRITTEN + REMADE
KEPT = 16  # Versions whose end is remembered, for each file that changes.


def content(name, version, start, end):
    """The bytes of a file from one offset to another."""
    blocks = []
    for block in range(start // BLOCK, -(-end // BLOCK)):
        head = f"{name:32.32} {version:8} {block:8}\n".encode()
        begin = (block * 31 + version * 7) % BLOCK
        blocks.append(head + PAD[begin : begin + BLOCK - len(head)])
    skipped = start // BLOCK * BLOCK
    return b"".join(blocks)[start - skipped : end - skipped]


def size(name, version):
    """The length of a version: from 500 bytes, which are served from memory, to 2 MiB."""
    if name in SIZES:
        return SIZES[name]
    return random.Random(f"{name} {version}").choice([500, 3000, 8192, 50_000, 700_000, 2 << 20])


class Wrong(Exception):
    """An answer that is not what it has to be."""


def expect(what, found, *wanted):
    if found not in wanted:
        raise Wrong(f"{what}: {found!r:.200} instead of {' or '.join(map(repr, wanted)):.200}")


def expect_content(name, found, wanted):
    if found != wanted:
        pairs = enumerate(zip(found, wanted))
        at = next((at for at, (a, b) in pairs if a != b), min(len(found), len(wanted)))
        where = f"{name}: {len(found)} bytes instead of {len(wanted)}, different at {at}"
        raise Wrong(f"{where}: {found[at : at + 48]!r} instead of {wanted[at : at + 48]!r}")


class Connection:
    """A client's end, which reads answers strictly."""

    def __init__(self, address, **options):
        self.socket = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        if "receive_buffer" in options:
            size = options["receive_buffer"]
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        self.socket.settimeout(WAIT_MAX)
        self.socket.connect(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pause = options.get("pause", 0)
        self.input = bytearray()
        self.open = True

    def ask(self, method, path, *fields, version="1.1", body=b""):
        lines = [f"{method} {path} HTTP/{version}", "Host: soak", *fields, "", ""]
        self.socket.sendall("\r\n".join(lines).encode() + body)

    def more(self):
        time.sleep(self.pause)
        got = self.socket.recv(1 << 18 if not self.pause else 1 << 14)
        self.input += got
        return bool(got)

    def take(self, count):
        while len(self.input) < count:
            if not self.more():
                raise Wrong(f"the input ends after {len(self.input)} of {count} bytes")
        taken = bytes(self.input[:count])
        del self.input[:count]
        return taken

    def answer(self, method="GET"):
        """Status, fields and content of the next answer."""
        while (end := self.input.find(b"\r\n\r\n")) < 0:
            if not self.more():
                raise Wrong(f"the input ends within a head: {bytes(self.input)!r:.200}")
        lines = self.take(end + 4).decode("latin-1").split("\r\n")[:-2]
        version, status, _ = lines[0].split(" ", 2)
        expect("version", version, "HTTP/1.1")
        fields = collections.defaultdict(str)
        for line in lines[1:]:
            name, value = line.split(": ", 1)
            fields[name.lower()] = value
        self.open = fields["connection"].lower() != "close"
        bodiless = method == "HEAD" or status in ("204", "304")
        length = 0 if bodiless else int(fields["content-length"])
        return int(status), fields, self.take(length)

    def end(self):
        """The server must send nothing more."""
        rest = self.take_all()
        expect("bytes behind the last answer", rest, b"")

    def take_all(self):
        while self.more():
            pass
        return bytes(self.input)

    def close(self, reset=False):
        if reset:
            linger = struct.pack("ii", 1, 0)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.socket.close()


class Changes:
    """The versions of the files that change, for all processes: one writes, the others read.

    A version may be served from when it is announced until STALE seconds after its end.
    """

    def __init__(self):
        self.versions = multiprocessing.Array("q", len(CHANGING))
        self.ends = multiprocessing.Array("d", len(CHANGING) * KEPT)

    def announce(self, name):
        number = CHANGING.index(name)
        with self.versions.get_lock():
            self.versions[number] += 1
            return self.versions[number]

    def done(self, name, version):
        """This version is in place, and the one before is gone."""
        self.ends[CHANGING.index(name) * KEPT + (version - 1) % KEPT] = time.monotonic()

    def possible(self, name, asked):
        """The versions that an answer to a request of this time may have, newest first."""
        number = CHANGING.index(name)
        newest = self.versions[number]
        for version in range(newest, max(newest - KEPT + 1, -1), -1):
            # The newest may not be in place yet; so the one before may not have ended.
            end = self.ends[number * KEPT + version % KEPT]
            if version >= newest - 1 or end > asked - STALE:
                yield version


def write(path, name, version):
    with open(path, "wb") as file:
        file.write(content(name, version, 0, size(name, version)))


def make_tree(root):
    for folder in ["small", "middle", "large", "change"]:
        os.mkdir(f"{root}/{folder}")
    for name in [*SIZES, *CHANGING]:
        write(f"{root}/{name}", name, 0)
        # An old time, so tags are strong and no coded version is older than its plain file.
        os.utime(f"{root}/{name}", (1_600_000_000, 1_600_000_000))


def change(root, changes, over):
    """Changes files until the end of the run, in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    rng = random.Random(2)
    while not over.wait(0.15):
        name = rng.choice(CHANGING)
        path = f"{root}/{name}"
        version = changes.announce(name)
        if name in REWRITTEN:
            write(path, name, version)
        else:
            if name in REMADE:
                os.unlink(path)
                over.wait(0.05)
            write(path + ".new", name, version)
            os.rename(path + ".new", path)
        changes.done(name, version)


MALFORMED = [
    (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
    (b"GET /%zz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 400),
    (b"GET /../a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 400),
    (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    (b"BREW / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 501),
    (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 101 + b"\r\n", 431),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 17_000 + b"\r\n\r\n", 431),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
]


class Client:
    """A client: one persistent connection, and others in between."""

    def __init__(self, address, changes, seed):
        self.address = address
        self.changes = changes
        self.rng = random.Random(seed)
        self.kept = None
        self.answers = 0
        self.errors = collections.Counter()
        self.examples = collections.defaultdict(list)

    def connect(self, **options):
        return Connection(self.address, **options)

    def keep(self):
        if self.kept is None or not self.kept.open:
            self.drop()
            self.kept = self.connect()
        return self.kept

    def drop(self):
        if self.kept is not None:
            self.kept.close()
            self.kept = None

    def take(self, connection, method="GET"):
        answer = connection.answer(method)
        self.answers += 1
        return answer

    def some_file(self):
        """Mostly small files, as on most sites."""
        large = self.rng.random() < 0.03
        names = [name for name in SIZES if name.startswith("large") == large]
        return self.rng.choice(names)

    def get(self, connection, name, *fields, **more):
        connection.ask("GET", "/" + name, *fields, **more)
        return self.take(connection)

    def check_whole(self, name, answer):
        expect(f"status of {name}", answer[0], 200)
        expect_content(name, answer[2], content(name, 0, 0, SIZES[name]))

    def whole(self):
        name = self.some_file()
        self.check_whole(name, self.get(self.keep(), name))

    def head(self):
        name, kept = self.some_file(), self.keep()
        kept.ask("HEAD", "/" + name)
        status, fields, _ = self.take(kept, "HEAD")
        expect(f"HEAD of {name}", (status, fields["content-length"]), (200, str(SIZES[name])))

    def large_name(self):
        return self.rng.choice(["large/1.bin", "large/4.bin", "large/16.bin", "middle/19.js"])

    def one_range(self):
        name = self.large_name()
        total, form = SIZES[name], self.rng.randrange(3)
        start = self.rng.randrange(total)
        end = min(total, start + self.rng.choice([1, 100, 5000, 300_000]))
        if form == 1:
            start = max(start, total - 400_000)
            end = total
        elif form == 2:
            start, end = max(0, total - 70_000), total
        asked = [f"{start}-{end - 1}", f"{start}-", f"-{end - start}"][form]
        status, fields, body = self.get(self.keep(), name, f"Range: bytes={asked}")
        wanted = (206, f"bytes {start}-{end - 1}/{total}")
        expect(f"{asked} of {name}", (status, fields["content-range"]), wanted)
        expect_content(f"{asked} of {name}", body, content(name, 0, start, end))

    def several_ranges(self):
        name = self.large_name()
        total, count = SIZES[name], self.rng.randrange(2, 9)
        step = total // count
        starts = [number * step + self.rng.randrange(step // 4) for number in range(count)]
        ranges = [(start, start + self.rng.randrange(1, step // 2)) for start in starts]
        self.rng.shuffle(ranges)
        asked = ", ".join(f"{start}-{end - 1}" for start, end in ranges)
        status, fields, body = self.get(self.keep(), name, f"Range: bytes={asked}")
        expect(f"{asked} of {name}", status, 206)
        form, boundary = fields["content-type"].split("; boundary=")
        expect("type of several ranges", form, "multipart/byteranges")
        body = b"\r\n" + body if not body.startswith(b"\r\n") else body
        for start, end in ranges:
            head, body = body.split(b"\r\n\r\n", 1)
            wanted = f"Content-Range: bytes {start}-{end - 1}/{total}".lower()
            if not head.decode().startswith(f"\r\n--{boundary}\r\n"):
                raise Wrong(f"{asked} of {name}: no boundary: {head!r}")
            if wanted not in head.decode().lower().split("\r\n"):
                raise Wrong(f"{asked} of {name}: {head!r} lacks {wanted}")
            part, body = body[: end - start], body[end - start :]
            expect_content(f"{start}-{end - 1} of {name}", part, content(name, 0, start, end))
        expect("end of several ranges", body.rstrip(b"\r\n"), f"\r\n--{boundary}--".encode())

    def no_such_range(self):
        name = self.large_name()
        status, fields, _ = self.get(self.keep(), name, f"Range: bytes={SIZES[name]}-")
        wanted = (416, f"bytes */{SIZES[name]}")
        expect(f"no range of {name}", (status, fields["content-range"]), wanted)

    def conditions(self):
        name, kept = self.some_file(), self.keep()
        answer = self.get(kept, name)
        self.check_whole(name, answer)
        tag, date = answer[1]["etag"], answer[1]["last-modified"]
        # A weak tag matches nothing here; that of a file which has just been made is weak.
        own = 412 if tag.startswith("W/") else 200
        for field, wanted in [(f"If-None-Match: {tag}", 304), (f"If-Modified-Since: {date}", 304),
                              ('If-Match: "other"', 412), (f"If-Match: {tag}", own)]:
            kept = self.keep()
            expect(f"{field} of {name}", self.get(kept, name, field)[0], wanted)

    def coded(self):
        number, coding = self.rng.randrange(20), self.rng.choice(["gzip", "br"])
        name, end = f"middle/{number:02}.js", {"gzip": ".gz", "br": ".br"}[coding]
        answer = self.get(self.keep(), name, f"Accept-Encoding: {coding}")
        there = number % 2 == 0
        expect(f"coding of {name}", answer[1]["content-encoding"], coding if there else "")
        stored = name + end if there else name
        expect_content(stored, answer[2], content(stored, 0, 0, SIZES[stored]))

    def pipelined(self):
        kept = self.keep()
        names = [self.some_file() for _ in range(self.rng.randrange(2, 12))]
        methods = [self.rng.choice(["GET", "GET", "HEAD"]) for _ in names]
        lines = [f"{method} /{name} HTTP/1.1\r\nHost: soak\r\n\r\n"
                 for method, name in zip(methods, names)]
        kept.socket.sendall("".join(lines).encode())
        for method, name in zip(methods, names):
            answer = self.take(kept, method)
            if method == "GET":
                self.check_whole(name, answer)
            else:
                expect(f"status of {name}", answer[0], 200)

    def with_own(self, then, **options):
        own = self.connect(**options)
        try:
            then(own)
        finally:
            own.close()

    def one_request(self):
        def then(own):
            name, version = self.some_file(), self.rng.choice(["1.0", "1.1"])
            answer = self.get(own, name, "Connection: close", version=version)
            self.check_whole(name, answer)
            own.end()
        self.with_own(then)

    def half_closed(self):
        def then(own):
            name = self.some_file()
            own.ask("GET", "/" + name)
            own.socket.shutdown(socket.SHUT_WR)
            self.check_whole(name, self.take(own))
            own.end()
        self.with_own(then)

    def in_pieces(self):
        def then(own):
            for byte in b"GET /empty.txt HTTP/1.1\r\nHost: soak\r\n\r\n":
                own.socket.sendall(bytes([byte]))
            self.check_whole("empty.txt", self.take(own))
        self.with_own(then)

    def aborted(self):
        own = self.connect()
        own.ask("GET", "/large/16.bin")
        own.take(self.rng.choice([1, 1000, 100_000, 3_000_000]))
        own.close(reset=True)

    def left(self):
        own = self.connect()
        own.socket.sendall(b"GET / HTTP/1.1\r\nHo"[: self.rng.randrange(18)])
        own.close(reset=self.rng.random() < 0.5)

    def malformed(self):
        request, wanted = self.rng.choice(MALFORMED)

        def then(own):
            own.socket.sendall(request)
            expect(f"{request!r:.60}", self.take(own)[0], wanted)
            own.socket.shutdown(socket.SHUT_WR)
            own.end()
        self.with_own(then)

    def missing(self):
        path = self.rng.choice(["nothing", "small/none.txt", ".hidden", "small/000.txt/"])
        expect(f"status of {path}", self.get(self.keep(), path)[0], 404)

    def moved(self):
        status, fields, _ = self.get(self.keep(), "small?a=b")
        expect("redirect", (status, fields["location"]), (308, "small/?a=b"))

    def listing(self):
        folder = self.rng.choice(["small", "middle"])
        fields = self.rng.choice([[], ["Accept: application/json"]])
        status, _, body = self.get(self.keep(), folder + "/", *fields)
        expect(f"status of {folder}/", status, 200)
        # What stands beside a file in another coding is not listed.
        files = {name.split("/")[1]: length for name, length in SIZES.items()
                 if name.startswith(folder + "/") and not name.endswith((".gz", ".br"))}
        if fields:
            entries = json.loads(body)["entries"]
            listed = {entry["name"]: entry["size"] for entry in entries}
            expect(f"entries of {folder}/", listed, files)
        else:
            lacking = [name for name in files if f'href="{name}"'.encode() not in body]
            expect(f"what {folder}/ lacks", lacking, [])

    def bodies(self):
        method, wanted = self.rng.choice([("POST", 405), ("PUT", 405), ("GET", 200)])
        body = b"b" * self.rng.choice([0, 1, 1000, 60_000])
        fields = [f"Content-Length: {len(body)}"]
        if self.rng.random() < 0.5:
            fields = ["Transfer-Encoding: chunked"]
            body = (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
        kept = self.keep()
        kept.ask(method, "/small/001.txt", *fields, body=body)
        expect(f"status of {method}", self.take(kept)[0], wanted)
        if kept.open:
            self.check_whole("small/001.txt", self.get(kept, "small/001.txt"))

    def renamed(self):
        name, kept, asked = self.rng.choice(RENAMED), self.keep(), time.monotonic()
        status, fields, body = self.get(kept, name)
        expect(f"status of {name}", status, 200)
        self.check_version(name, body, asked)

    def check_version(self, name, body, asked):
        versions = list(self.changes.possible(name, asked))
        for version in versions:
            if len(body) == size(name, version):
                if body == content(name, version, 0, len(body)):
                    return
        raise Wrong(f"{name}: {len(body)} bytes of {body[:50]!r}, none of versions {versions}")

    def remade(self):
        name, kept, asked = self.rng.choice(REMADE), self.keep(), time.monotonic()
        status, _, body = self.get(kept, name)
        expect(f"status of {name}", status, 200, 404)
        if status == 200:
            self.check_version(name, body, asked)

    def rewritten(self):
        def then(own):
            own.ask("GET", "/" + self.rng.choice(REWRITTEN))
            try:
                expect("status of what is rewritten", self.take(own)[0], 200)
            except (Wrong, ConnectionResetError) as error:
                # It was cut short while it was sent: the answer may end early, no more.
                if isinstance(error, Wrong) and "input ends after" not in str(error):
                    raise
        self.with_own(then)

    def slow_reader(self):
        def then(own):
            name = self.rng.choice(["large/1.bin", "middle/19.js"])
            self.check_whole(name, self.get(own, name))
        self.with_own(then, receive_buffer=8192, pause=0.02)

    def slow_version(self):
        def then(own):
            name, asked = self.rng.choice(RENAMED), time.monotonic()
            own.ask("GET", "/" + name)
            time.sleep(self.rng.random())
            _, _, body = self.take(own)
            self.check_version(name, body, asked)
        self.with_own(then, receive_buffer=8192)

    def idle(self):
        def then(own):
            self.check_whole("small/002.txt", self.get(own, "small/002.txt"))
            others = [self.connect() for _ in range(5)]
            time.sleep(self.rng.uniform(1, 20))
            for connection in [own, *others]:
                self.check_whole("small/003.txt", self.get(connection, "small/003.txt"))
                connection.close()
        self.with_own(then)

    # The actions and their weights.
    QUICK = {"whole": 20, "head": 5, "one_range": 8, "several_ranges": 4, "no_such_range": 2,
             "conditions": 4, "coded": 4, "pipelined": 4, "one_request": 6, "half_closed": 3,
             "in_pieces": 1, "aborted": 2, "left": 2, "malformed": 5, "missing": 3, "moved": 1,
             "listing": 1, "bodies": 4, "renamed": 8, "remade": 4, "rewritten": 4}
    SLOW = {"slow_reader": 2, "slow_version": 2, "idle": 1}

    def run(self, actions, over, pause):
        """Does one action after the other until the end of the run."""
        names, weights = list(actions), list(actions.values())
        while not over.is_set():
            action = self.rng.choices(names, weights)[0]
            try:
                getattr(self, action)()
            except (OSError, Wrong, ValueError, IndexError) as error:
                self.errors[action] += 1
                if len(self.examples[action]) < EXAMPLES:
                    self.examples[action].append(f"{type(error).__name__}: {error}"[:400])
                self.drop()
            over.wait(self.rng.expovariate(1 / pause))
        self.drop()


def load(address, changes, over, answers, results, seed, pause):
    """One process: one fast client and two slow ones."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    clients = [Client(address, changes, f"{seed} {number}") for number in range(3)]
    slow = [threading.Thread(target=client.run, args=(Client.SLOW, over, 0.2))
            for client in clients[1:]]
    quick = threading.Thread(target=clients[0].run, args=(Client.QUICK, over, pause))
    for thread in [quick, *slow]:
        thread.start()
    counted = 0
    while any(thread.is_alive() for thread in [quick, *slow]):
        time.sleep(0.5)
        now = sum(client.answers for client in clients)
        with answers.get_lock():
            answers.value += now - counted
        counted = now
    errors = sum((client.errors for client in clients), collections.Counter())
    examples = collections.defaultdict(list)
    for client in clients:
        for action, texts in client.examples.items():
            examples[action] += texts
    results.put((errors, dict(examples)))


class Server:
    """ringd, and what the kernel reports about it."""

    def __init__(self, binary, driver, workers, root):
        command = [binary, "serve", root, "--listen", "127.0.0.1:0", "--listing"]
        command += ["--driver", driver, "--workers", str(workers)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        print(line, end="", flush=True)
        host, port = line.split("http://")[1].split("/")[0].rsplit(":", 1)
        self.address = (host, int(port))

    def path(self, name):
        return f"/proc/{self.process.pid}/{name}"

    def sample(self):
        """PSS and RSS, descriptors, sockets, threads, CPU seconds."""
        memory = {}
        with open(self.path("smaps_rollup")) as file:
            for line in list(file)[1:]:
                name, value = line.split(":")
                memory[name] = int(value.split()[0])
        names = []
        for number in os.listdir(self.path("fd")):
            try:
                names.append(os.readlink(self.path(f"fd/{number}")))
            except FileNotFoundError:
                pass
        sockets = sum(name.startswith("socket:") for name in names)
        threads = len(os.listdir(self.path("task")))
        with open(self.path("stat")) as file:
            fields = file.read().rsplit(")", 1)[1].split()
        cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return [memory["Pss"], memory["Rss"], len(names), sockets, threads, cpu]

    def stop(self):
        """Drains the server, and returns whether it stopped properly."""
        self.process.terminate()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return "no end within 20 s"


COLUMNS = ["minutes", "pss_kib", "rss_kib", "descriptors", "sockets", "threads", "answers", "cpu_s"]


def slope(rows, column):
    """Of the least-squares line over the second half: per hour, with mean, least and most."""
    half = [row for row in rows if row[0] >= rows[-1][0] / 2]
    hours, values = [row[0] / 60 for row in half], [row[column] for row in half]
    middle, mean = sum(hours) / len(half), sum(values) / len(half)
    spread = sum((hour - middle) ** 2 for hour in hours)
    shared = sum((hour - middle) * (value - mean) for hour, value in zip(hours, values))
    rise = shared / spread if spread else 0.0
    return rise, rise * (hours[-1] - hours[0]), mean, min(values), max(values)


def cpu_per_answer(rows):
    """In microseconds, over each third; None where nothing was answered."""
    answers, cpu = COLUMNS.index("answers"), COLUMNS.index("cpu_s")
    marks = [rows[(len(rows) - 1) * third // 3] for third in range(4)]
    for begin, end in zip(marks, marks[1:]):
        count = end[answers] - begin[answers]
        yield (end[cpu] - begin[cpu]) * 1e6 / count if count else None


def judge(rows):
    """Prints the trends, for people to judge: the exit code does not depend on them."""
    short = rows[-1][0] < JUDGED
    for name, unit in [("pss_kib", "KiB"), ("rss_kib", "KiB"), ("descriptors", "descriptors")]:
        column = COLUMNS.index(name)
        thirds = [rows[len(rows) * third // 3 - 1][column] for third in (1, 2, 3)]
        per_hour, rise, mean, least, most = slope(rows, column)
        flat = "flat" if rise < mean * 0.05 else "RISES"
        flat = "too short to tell" if short else flat
        print(f"{name:<11} ends of thirds {', '.join(map(str, thirds))}; second half "
              f"{per_hour:+.0f} {unit}/h, {least} to {most}: {flat}")
    costs = ["-" if cost is None else f"{cost:.1f}" for cost in cpu_per_answer(rows)]
    print(f"CPU time per answer in each third: {', '.join(costs)} µs")


STYLE = """text { font: 12px system-ui, sans-serif; fill: #222 } .title { font-weight: 600 }
.grid { stroke: #ddd } .paper { fill: #fff } path { fill: none; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) { text { fill: #ddd } .grid { stroke: #333 }
.paper { fill: #111 } }"""
# The palette of Okabe and Ito, which colour-blind people can distinguish.
PANELS = [
    ("Memory, MiB", [("PSS", "pss_kib", 1024, "#0072b2"), ("RSS", "rss_kib", 1024, "#e69f00")]),
    ("Descriptors", [("all", "descriptors", 1, "#009e73"), ("sockets", "sockets", 1, "#cc79a7")]),
]


def plot(rows, title):
    """Memory and descriptors over time, as SVG."""
    left, width, height, gap = 60, 640, 180, 70
    total = gap + len(PANELS) * (height + gap)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 30} {total}" '
             f'role="img"><title>{title}</title><style>{STYLE}</style>'
             f'<rect class="paper" width="100%" height="100%"/>'
             f'<text class="title" x="20" y="26">{title}</text>']
    last = max(rows[-1][0], 1e-9)
    for number, (name, lines) in enumerate(PANELS):
        top = gap + number * (height + gap)
        columns = [[row[COLUMNS.index(column)] / unit for row in rows]
                   for _, column, unit, _ in lines]
        step = 10 ** (len(str(int(max(map(max, columns))))) - 1)
        most = (max(map(max, columns)) // step + 1) * step
        parts.append(f'<text x="{left}" y="{top - 10}">{name}</text>')
        for tick in range(5):
            y, x = top + height - height * tick / 4, left + width * tick / 4
            parts.append(f'<line class="grid" x1="{left}" y1="{y}" x2="{left + width}" y2="{y}"/>'
                         f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">'
                         f'{most * tick / 4:.4g}</text>'
                         f'<text x="{x}" y="{top + height + 18}" text-anchor="middle">'
                         f'{last * tick / 4:.3g} min</text>')
        for place, ((label, _, _, colour), values) in enumerate(zip(lines, columns)):
            points = " L".join(f"{left + width * row[0] / last:.1f} "
                               f"{top + height - height * value / most:.1f}"
                               for row, value in zip(rows, values))
            x = left + 160 + place * 100
            parts.append(f'<path d="M{points}" stroke="{colour}"/>'
                         f'<path d="M{x} {top - 14} h20" stroke="{colour}"/>'
                         f'<text x="{x + 26}" y="{top - 10}">{label}</text>')
    return "".join(parts) + "</svg>\n"


def watch(server, options, answers, over):
    """Samples until the time is over, the server has ended, or the user interrupts."""
    rows, begun = [], time.monotonic()
    now, end = begun, begun + options.minutes * 60
    print("  ".join(f"{name:>11}" for name in COLUMNS))
    try:
        while True:
            pss, rss, descriptors, sockets, threads, cpu = server.sample()
            minutes = round((now - begun) / 60, 3)
            row = [minutes, pss, rss, descriptors, sockets, threads, answers.value, cpu]
            rows.append(row)
            print("  ".join(f"{value:>11}" for value in row), flush=True)
            if now >= end:
                break
            time.sleep(min(options.every, end - now))
            now = time.monotonic()
    except (FileNotFoundError, ProcessLookupError, KeyError):
        print("the server has ended")
    except KeyboardInterrupt:
        print("interrupted")
    over.set()
    return rows


def soak(options, root):
    """Runs everything, and returns the samples and the counts of errors."""
    make_tree(root)
    server = Server(options.binary, options.driver, options.workers, root)
    before = server.sample()
    changes, over, results = Changes(), multiprocessing.Event(), multiprocessing.Queue()
    answers = multiprocessing.Value("q")
    shared = (server.address, changes, over, answers, results)
    processes = [multiprocessing.Process(target=load, args=(*shared, seed, options.pause / 1000))
                 for seed in range(options.processes)]
    processes.append(multiprocessing.Process(target=change, args=(root, changes, over)))
    for process in processes:
        process.start()
    rows = watch(server, options, answers, over)
    errors, examples = collections.Counter(), collections.defaultdict(list)
    for _ in range(options.processes):
        try:
            counted, texts = results.get(timeout=4 * WAIT_MAX)
        except queue.Empty:
            counted, texts = {"a client that does not end": 1}, {}
        errors.update(counted)
        for action, some in texts.items():
            examples[action] += some
    for process in processes:
        process.join()
    end, left = time.monotonic() + 15, None
    while server.process.poll() is None and time.monotonic() < end:
        after = server.sample()
        left = after[3] - before[3]
        if left == 0:
            break
        time.sleep(0.2)
    if left is not None:
        print(f"\nafter the load: {left} connections left, {after[2]} descriptors ({before[2]} at "
              f"the beginning; the others are files that the cache holds), {after[0]} KiB PSS")
        errors["connections that are left"] += left
    ended = server.stop()
    if ended != 0:
        errors[f"the server's end: {ended}"] += 1
    print(f"{answers.value} answers, {sum(changes.versions)} changes of files, "
          f"{errors.total()} errors")
    for action, count in errors.items():
        if count:
            print(f"  {action}: {count}")
            for text in examples[action][:EXAMPLES]:
                print(f"    {text}")
    return rows, errors.total()


def main():
    parser = make_parser(__doc__)
    parser.add_argument("binary", help="the release build of ringd")
    parser.add_argument("--driver", default="auto", help="driver of ringd")
    parser.add_argument("--workers", type=int, default=2, help="workers of ringd")
    parser.add_argument("--minutes", type=float, default=30, help="duration of the load")
    parser.add_argument("--processes", type=int, default=2, help="client processes")
    parser.add_argument("--pause", type=float, default=5, help="ms between two actions, on average")
    parser.add_argument("--every", type=float, default=5, help="seconds between samples")
    parser.add_argument("--csv", help="file for the samples")
    parser.add_argument("--svg", help="file for a plot")
    options = parser.parse_args()
    check_binary(parser, options.binary)
    with tempfile.TemporaryDirectory(prefix="soak-") as root:
        rows, errors = soak(options, root)
    if len(rows) > 3:
        judge(rows)
        if options.csv:
            with open(options.csv, "w") as file:
                file.writelines(",".join(map(str, row)) + "\n" for row in [COLUMNS, *rows])
        if options.svg:
            with open(options.svg, "w") as file:
                file.write(plot(rows, f"ringd, {options.driver}, under a mixed load"))
    sys.exit(1 if errors else 0)


if __name__ == "__main__":
    main()
