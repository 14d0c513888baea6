"""Clients that request files all the time and check every answer: one thread, one epoll loop.

A `Load` holds the clients, the time and the tally. A `Client` is one sort of behaviour on one
connection at a time: kept open or one connection per request, pipelining, slow, or mostly idle.
Requests are due at random times around a period, whatever the server does, so two servers get the
same load. A latency counts from the moment the request was sent. If the answer before it was late,
so that the request could not be sent when it was due, it counts from when it was due: otherwise a
server that stalls would be asked less, and the stall would count once.

What is counted:

    answers     complete answers
    error       a connect that fails, an answer that is no HTTP, an answer that does not come
                within `ANSWER_MAX` seconds
    unanswered  the connection ended before the first byte of an answer
    reset       ECONNRESET or EPIPE, at any time
    short       the connection ended within an answer, in whatever way
    non-200     a status that the judge does not expect
    mixed       the body and the field X-Generation are of different generations
    stale       an answer of an older generation than one that was seen long before the request
    closed      a kept-open connection that ended while no request was on its way, and that had not
                been announced by `Connection: close`
    announced   answers on kept-open connections that say `Connection: close`
    resent      pipelined requests behind such an answer, which are sent again, as HTTP demands

The last three are allowed by HTTP; the first of them is also the race that makes a client fail: it
may send a request in the very moment.
"""

import collections
import errno
import heapq
import random
import re
import select
import socket
import time

ANSWER_MAX = 10.0
HEAD_MAX = 16384
EXAMPLES = 3
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
GENERATION = re.compile(rb"\r\nx-generation: *([^\r]*)", re.IGNORECASE)
CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
BROKEN = (errno.ECONNRESET, errno.EPIPE)


class Request:
    """What is sent, and what the judge needs to know of it."""

    __slots__ = ("host", "path", "wire")

    def __init__(self, host, path, close=False):
        self.host, self.path = host, path
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}"] + ["Connection: close"] * close
        self.wire = ("\r\n".join(lines) + "\r\n\r\n").encode()


class Head:
    """The part of a response's head that matters here."""

    __slots__ = ("status", "length", "generation", "close")

    def __init__(self, text):
        if not text.startswith(b"HTTP/1."):
            raise ValueError(f"no status line: {text[:80]!r}")
        self.status = int(text[9:12])
        self.close = CLOSE.search(text) is not None
        generation = GENERATION.search(text)
        self.generation = int(generation[1]) if generation else None
        length = LENGTH.search(text)
        # None stands for a body in chunks.
        self.length = int(length[1]) if length else None
        if length is None and not CHUNKED.search(text):
            raise ValueError(f"no length: {text[:200]!r}")


def unchunk(inbox):
    """The body that is at the start of `inbox` in chunks, and its length there, or None."""
    body, at = b"", 0
    while (line := inbox.find(b"\r\n", at)) >= 0:
        size = int(inbox[at:line], 16)
        end = line + 2 + size + 2
        if len(inbox) < end:
            return None
        body += inbox[line + 2 : end - 2]
        at = end
        if size == 0:
            return body, at
    return None


class Load:
    """The loop. `judge(request, status, generation, body, floor)` returns None, or the kind of the
    error and its description. `floor` is what `self.floor` was when the request was sent."""

    def __init__(self, address, judge, seed=1):
        self.address, self.judge = address, judge
        self.random = random.Random(seed)
        self.epoll = select.epoll()
        self.clients, self.sockets, self.timers, self.garbage = [], {}, [], []
        self.counts, self.examples = collections.Counter(), {}
        self.latencies = collections.defaultdict(list)
        self.phase = None  # Latencies are kept under this name, if there is one.
        self.floor = 0
        self.seen = None  # Called with the generation of each answer.
        self.order = 0
        self.at(time.perf_counter() + 1, self.look_for_the_late)

    def count(self, kind, example=""):
        self.counts[kind] += 1
        if example:
            examples = self.examples.setdefault(kind, [])
            if len(examples) < EXAMPLES:
                examples.append(example)

    def at(self, when, action, *arguments):
        self.order += 1
        heapq.heappush(self.timers, (when, self.order, action, arguments))

    def run(self, seconds, until=None):
        """Runs for that time, or until `until` returns true."""
        end = time.perf_counter() + seconds
        while (now := time.perf_counter()) < end and not (until and until()):
            while self.timers and self.timers[0][0] <= now:
                _, _, action, arguments = heapq.heappop(self.timers)
                action(*arguments)
            wait = min(self.timers[0][0], end) - time.perf_counter() if self.timers else 0.01
            for fd, mask in self.epoll.poll(max(0.0, wait)):
                client = self.sockets.get(fd)
                if client is not None:
                    client.event(mask)
            # Descriptors are closed here, so that no number is used again within one batch.
            for garbage in self.garbage:
                garbage.close()
            self.garbage.clear()

    def look_for_the_late(self):
        now = time.perf_counter()
        for client in self.clients:
            if client.pending and client.pending[0][1] < now - ANSWER_MAX:
                what = f"{client.sort}: no answer within {ANSWER_MAX:.0f} s"
                client.fail("error", f"{what}, {client.progress()}")
            elif client.whole and client.socket and client.whole < now - ANSWER_MAX:
                what = f"no end of the connection within {ANSWER_MAX:.0f} s of its last answer"
                client.fail("error", f"{client.sort}: {what}")
        self.at(now + 1, self.look_for_the_late)

    def stop(self):
        """Ends all clients. Requests on their way are not waited for."""
        for client in self.clients:
            client.over = True
            client.close()
        self.clients.clear()
        for garbage in self.garbage:
            garbage.close()
        self.garbage.clear()

    def finish(self, seconds=ANSWER_MAX + 2):
        """Sends no new requests, waits for the answers that are on their way, and ends."""
        for client in self.clients:
            client.over = True
        self.run(seconds, lambda: not any(client.pending for client in self.clients))
        self.stop()


class Client:
    """One client. `sort` is the name for its latencies, or None. `depth` is how many requests it
    sends at a time; `own` means a connection for each; a slow one reads `chunk` bytes, and then
    pauses."""

    def __init__(self, load, requests, period, **options):
        self.load, self.requests, self.period = load, requests, period
        self.sort = options.get("sort")
        self.depth = options.get("depth", 1)
        self.own = options.get("own", False)
        self.chunk = options.get("chunk", 1 << 18)
        self.pause = options.get("pause", 0)
        self.receive_buffer = options.get("receive_buffer")
        self.socket, self.head = None, None
        self.inbox, self.outbox, self.pending = bytearray(), b"", collections.deque()
        self.connecting = self.over = False
        self.late = None
        self.whole = None  # When the last answer of a connection of its own was whole.
        self.next_due = time.perf_counter() + load.random.random() * period
        load.clients.append(self)
        load.at(self.next_due, self.due)
        if not self.own:
            self.open()

    def due(self):
        if self.over:
            return
        due = self.next_due
        now = time.perf_counter()
        wait = self.period * self.load.random.uniform(0.5, 1.5)
        self.next_due = max(due, now - self.period) + wait
        self.load.at(self.next_due, self.due)
        if self.pending or (self.own and self.socket):
            self.late = self.late or due
        else:
            self.begin(now)

    def begin(self, start):
        self.late = None
        requests = self.load.random.choices(self.requests, k=self.depth)
        self.send([(request, start, self.load.floor) for request in requests])

    def send(self, exchanges):
        self.pending.extend(exchanges)
        self.outbox += b"".join(exchange[0].wire for exchange in exchanges)
        if self.socket is None:
            self.open()
        elif not self.connecting:
            self.flush()

    def open(self):
        self.whole = None
        family = socket.AF_UNIX if isinstance(self.load.address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        if family == socket.AF_INET:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
            # Segments of loopback have 64 KiB, and a server's buffer holds twenty: a whole file.
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1448)
        code = self.socket.connect_ex(self.load.address)
        if code not in (0, errno.EINPROGRESS):
            return self.fail("error", f"connect: {errno.errorcode.get(code, code)}")
        self.connecting = code != 0
        self.load.sockets[self.socket.fileno()] = self
        self.load.epoll.register(self.socket, select.EPOLLIN | select.EPOLLOUT * self.connecting)
        if not self.connecting:
            self.flush()

    def flush(self):
        if not self.outbox:
            return
        try:
            sent = self.socket.send(self.outbox)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            return self.broken(error)
        self.outbox = self.outbox[sent:]
        if self.outbox:
            self.load.epoll.modify(self.socket, select.EPOLLIN | select.EPOLLOUT)

    def event(self, mask):
        if mask & (select.EPOLLOUT | select.EPOLLERR) and self.connecting:
            code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                return self.fail("error", f"connect: {errno.errorcode.get(code, code)}")
            self.connecting = False
        if mask & select.EPOLLOUT:
            self.load.epoll.modify(self.socket, select.EPOLLIN)
            self.flush()
        if self.socket and mask & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            self.receive()

    def receive(self):
        try:
            data = self.socket.recv(self.chunk)
        except BlockingIOError:
            return
        except OSError as error:
            return self.broken(error)
        if not data:
            return self.ended()
        self.inbox += data
        read = self.socket
        try:
            self.parse()
        except ValueError as error:
            return self.fail("error", str(error))
        # The answer may have ended the connection, and the next one has something to send.
        if self.pause and self.socket is read and self.pending and not self.outbox:
            self.load.epoll.unregister(self.socket)
            self.load.at(time.perf_counter() + self.pause, self.resume, self.socket)

    def resume(self, paused):
        if self.socket is paused:
            self.load.epoll.register(paused, select.EPOLLIN)

    def parse(self):
        inbox = self.inbox
        while self.pending:
            if self.head is None:
                end = inbox.find(b"\r\n\r\n")
                if end < 0:
                    if len(inbox) > HEAD_MAX:
                        raise ValueError("a head without an end")
                    return
                self.head = Head(bytes(inbox[: end + 2]))
                del inbox[: end + 4]
            if self.head.length is None:
                whole = unchunk(inbox)
                if whole is None:
                    return
                body, length = whole
            else:
                length = self.head.length
                if len(inbox) < length:
                    return
                body = bytes(memoryview(inbox)[:length])
            del inbox[:length]
            head, self.head = self.head, None
            if not self.answered(head, body):
                return
        if inbox:
            raise ValueError(f"{len(inbox)} bytes that nobody asked for: {bytes(inbox[:80])!r}")

    def answered(self, head, body):
        """Checks an answer. Returns whether the connection goes on."""
        load = self.load
        request, start, floor = self.pending.popleft()
        load.counts["answers"] += 1
        if load.phase and self.sort:
            load.latencies[load.phase, self.sort].append(time.perf_counter() - start)
        error = load.judge(request, head.status, head.generation, body, floor)
        if error:
            load.count(*error)
        if load.seen and head.generation is not None:
            load.seen(head.generation)
        if self.own:
            if not self.pending:
                self.whole = time.perf_counter()
            return True  # The end of the connection comes next.
        if head.close:
            load.count("announced")
            rest = list(self.pending)
            self.close()
            load.counts["resent"] += len(rest)
            if rest:
                self.send(rest)
            else:
                self.go_on()
            return False
        if not self.pending:
            self.go_on()
        return True

    def go_on(self):
        """Sends what was due meanwhile; else connects again if the connection is gone."""
        if self.over:
            return
        if self.late is not None:
            self.begin(self.late)
        elif self.socket is None and not self.own:
            self.open()

    def broken(self, error):
        if self.head or self.inbox:
            self.load.count("short", f"{self.sort}: {self.progress()}")
        kind = "reset" if error.errno in BROKEN else "error"
        self.fail(kind, f"{self.sort}: {error.strerror}, {self.progress()}")

    def ended(self):
        if not self.pending:
            if not self.own:
                self.load.count("closed", f"{self.sort}: closed while idle")
            self.close()
            return self.go_on()
        started = self.head or self.inbox
        self.fail("short" if started else "unanswered", f"{self.sort}: {self.progress()}")

    def progress(self):
        if not self.pending:
            return "no request was on its way"
        what = f"{self.pending[0][0].path}, {len(self.pending)} on their way"
        return f"{what}, {len(self.inbox)} bytes of the body" if self.head else what

    def fail(self, kind, example):
        """Counts an error and goes on with a new connection, a moment later."""
        self.load.count(kind, example)
        self.close()
        self.late = None
        if not self.own:
            self.load.at(time.perf_counter() + 0.05, self.reopen)

    def reopen(self):
        if self.socket is None and not self.over:
            self.open()

    def close(self):
        if self.socket is not None:
            self.load.sockets.pop(self.socket.fileno(), None)
            try:
                self.load.epoll.unregister(self.socket)
            except (OSError, ValueError):
                pass  # A slow client that pauses is not registered.
            self.load.garbage.append(self.socket)
        self.socket, self.head, self.outbox, self.connecting = None, None, b"", False
        self.inbox.clear()
        self.pending.clear()


def percentile(values, share):
    """The value below which that share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")
