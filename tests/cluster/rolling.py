#!/usr/bin/env python3
"""Rolls releases over three servers behind HAProxy, and counts what clients notice.

    python3 tests/cluster/rolling.py --driver uring                 # as root; apt install haproxy
    python3 tests/cluster/rolling.py --modes tcp --delays 2s --check get

Five network namespaces are joined by a bridge in a sixth one: a client, HAProxy, and three servers.
The script makes them and removes them; nothing else of the machine's network is touched. Where that
is not possible, it says why it is skipped, and the exit code is 0.

The client has 32 connections that are kept open, 16 clients with a connection for each request,
8 that ask for the scripts of the newest release and of the one before it, and 4 downloads of 5 MiB.
Meanwhile each server in turn gets SIGTERM, ends, and is started again with
the next release; that is one round, and rounds follow each other until the time is over. Each
release has its number in X-Generation, and its variant in each file. HAProxy has `retries 0` and
does not redispatch, so it hides no failure; it checks each server every 500 ms, and one failed
check takes a server out.

--modes     http: HAProxy forwards requests, with X-Forwarded-For; tcp: it forwards connections, with
            the PROXY protocol. The logs of the servers must have the address of the client.
--delays    --drain-delay of ringd. With 0s, errors are expected, which shows that they are counted.
--check     how HAProxy learns that a server is going to end:
            ready       GET /readyz at the port of the administration: 503 from the signal on
            keep-alive  asks to keep the connection, by HTTP/1.0, and a server that answers
                        `Connection: close` is taken out. ringd answers so from the signal on.
            file        GET /alive; the file is removed a second before the signal, and 404 takes
                        the server out for new connections only (`disable-on-404`)
            health      GET /healthz, the --health-path of ringd: 503 from the signal on
            listener    asks at another port, whose listener a reload closes a second before the
                        signal
            get         GET / must be answered with 200: it is, until the listener is closed, so
                        HAProxy learns it too late, and errors are expected

--assets    which scripts the servers have in `fallback-root`, besides their own: `first`: those of the
            next release are put there before the first server is replaced; `previous`: those of the
            release before; `none`. With the latter two, answers of 404 are expected.
--etag      with `content`, a tag of one server gets 304 from all; with `stat` it does not, because the
            times of the files differ

With --keep-downloads, downloads take 7 s and keep their connections open. Then failures are
possible in mode tcp, whatever the check; the README says why.

The exit code is 1 if anything failed with a delay and a check that works, or if nothing failed
where errors are expected.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from judge import HOST, LARGE, PAGE, SMALL, replace
from load import Client, Load, Request, percentile
from releases import COPIES, LOG_FORMAT, ReleaseJudge, asset, clients_in, compare_tags, fill, put
from subjects import machine

LARGE_SIZE = 5 << 20
PORT, CHECK_PORT, ADMIN_PORT = 8080, 8081, 7899
BALANCER, CLIENT = "10.77.0.2", "10.77.0.3"
SERVERS = ["10.77.0.11", "10.77.0.12", "10.77.0.13"]
FAILURES = ["error", "unanswered", "reset", "short", "non-200", "mixed"]
CHECKS = {
    "ready": """
  option httpchk
  http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host main.test
  http-check expect status 200
  default-server port 7899
""",
    # Written as bytes, because HAProxy hides the field `Connection` from its rules for HTTP.
    "keep-alive": r"""
  option tcp-check
  tcp-check send "GET / HTTP/1.0\r\nHost: main.test\r\nConnection: keep-alive\r\n\r\n"
  tcp-check expect string "Connection: keep-alive"
""",
    "file": """
  option httpchk
  http-check send meth GET uri /alive ver HTTP/1.1 hdr Host main.test
  http-check disable-on-404
""",
    "health": """
  option httpchk
  http-check send meth GET uri /healthz ver HTTP/1.1 hdr Host main.test
  http-check expect status 200
""",
    "listener": """
  option httpchk
  http-check send meth GET uri / ver HTTP/1.1 hdr Host main.test
  default-server port 8081
""",
    "get": """
  option httpchk
  http-check send meth GET uri / ver HTTP/1.1 hdr Host main.test
  http-check expect status 200
""",
}
RINGD = """\
[server]
driver = "{driver}"
workers = 1
drain-delay = "{delay}"
health-path = "/healthz"

[[listen]]
address = "{address}:8080"
trusted = ["10.77.0.2"]
{client}
{other_listener}
[admin]
listen = ["{address}:7899"]

[log]
access = "{log}"
format = "{log_format}"

[[site]]
root = "{root}"
etag = "{etag}"
fallback-root = {{ path = "{fallback}", only = ["/assets/**"] }}
header = [{{ glob = "**", set = {{ X-Generation = "{release}" }} }}]
"""
# How the server and HAProxy name the client, by the mode.
CLIENT_OF_RINGD = {"http": 'forwarded = "x-forwarded-for"', "tcp": 'proxy-protocol = "require"'}
CLIENT_OF_HAPROXY = {"http": "  option forwardfor\n", "tcp": "  default-server send-proxy-v2\n"}
# What a client has to say first, if it is not HAProxy.
FIRST_LINE = {"http": "", "tcp": "PROXY UNKNOWN\r\n"}
HAPROXY = """
global
  nbthread 1
  maxconn 4000
  stats socket {folder}/haproxy.sock mode 600 level admin
defaults
  mode {mode}
  retries 0
  no option redispatch
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen site
  bind {balancer}:{port}
  balance roundrobin
{reuse}{client}{check}
  default-server check inter 500ms fall 1 rise 1
{servers}
"""


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Network:
    """The namespaces, by name: `hub` with the bridge, and one for each address."""

    def __init__(self):
        self.prefix = f"rolling{os.getpid()}-"
        self.names = []

    def __enter__(self):
        try:
            self.add("hub")
            self.ip("hub", "link", "add", "bridge", "type", "bridge")
            self.ip("hub", "link", "set", "bridge", "up")
            for address in [BALANCER, CLIENT, *SERVERS]:
                self.join(address)
        except BaseException:
            self.__exit__()
            raise
        return self

    def add(self, name):
        run("ip", "netns", "add", self.prefix + name)
        self.names.append(name)
        self.ip(name, "link", "set", "lo", "up")

    def ip(self, name, *arguments):
        run("ip", "-netns", self.prefix + name, *arguments)

    def join(self, address):
        """Makes a namespace with this address and plugs it into the bridge."""
        self.add(address)
        port = "port" + address.rpartition(".")[2]
        self.ip("hub", "link", "add", port, "type", "veth",
                "peer", "name", "eth0", "netns", self.prefix + address)
        self.ip("hub", "link", "set", port, "master", "bridge", "up")
        self.ip(address, "address", "add", f"{address}/24", "dev", "eth0")
        self.ip(address, "link", "set", "eth0", "up")

    def start(self, name, command, **pipes):
        """Starts a command in a namespace."""
        return subprocess.Popen(["ip", "netns", "exec", self.prefix + name, *command], **pipes)

    def __exit__(self, *_):
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", self.prefix + name], check=False)


class Replica:
    """One ringd."""

    def __init__(self, network, address, options, folder, mode, delay):
        self.network, self.address, self.options = network, address, options
        self.folder, self.mode, self.delay = folder, mode, delay
        self.number = SERVERS.index(address)
        self.fallback = f"{folder}/{address}-fallback"
        self.log = f"{folder}/{address}.log"
        os.mkdir(self.fallback)
        self.config = f"{folder}/{address}.toml"
        self.process = self.root = self.release = None

    def start(self, release):
        """Starts it with a release, whose root is its own."""
        if self.root:
            shutil.rmtree(self.root)
        self.root = f"{self.folder}/{self.address}-{release}"
        release_root = f"{self.folder}/main-{release % 2}"
        shutil.copytree(release_root, self.root, copy_function=os.link)
        fill(self.root, release, self.number)
        if self.options.assets == "previous" and release > 0:
            put(self.fallback, release - 1)
        with open(f"{self.root}/alive", "w") as file:
            file.write("alive\n")
        shutil.copy(f"{self.root}/alive", f"{self.root}/index.html")
        self.release = release
        self.configure([PORT, CHECK_PORT])
        command = [self.options.binary, "-c", self.config]
        with open(f"{self.folder}/log", "ab") as log:
            self.process = self.network.start(self.address, command, stdout=log, stderr=log)

    def configure(self, ports):
        other = f'[[listen]]\naddress = "{self.address}:{CHECK_PORT}"\n' * (CHECK_PORT in ports)
        text = RINGD.format(driver=self.options.driver, delay=self.delay, root=self.root,
                            address=self.address, client=CLIENT_OF_RINGD[self.mode],
                            other_listener=other, release=self.release, log=self.log,
                            log_format=LOG_FORMAT, etag=self.options.etag,
                            fallback=self.fallback)
        replace(self.config, text.encode())

    def leave(self):
        """Does what the check needs before the signal, and waits until HAProxy has noticed it."""
        if self.options.check == "file":
            os.remove(f"{self.root}/alive")
        elif self.options.check == "listener":
            self.configure([PORT])
            self.process.send_signal(signal.SIGHUP)
        else:
            return
        time.sleep(1)

    def end(self):
        """Sends SIGTERM and waits for the end. Returns how long it took."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        if code != 0:
            raise SystemExit(f"ringd ended with {code}; see {self.folder}/log")
        return time.monotonic() - begun


class Balancer:
    """HAProxy."""

    def __init__(self, network, folder, mode, check):
        self.folder = folder
        names = [f"  server s{number} {address}:{PORT}" for number, address in enumerate(SERVERS)]
        reuse = "  http-reuse safe\n" if mode == "http" else ""
        text = HAPROXY.format(folder=folder, mode=mode, balancer=BALANCER, port=PORT, reuse=reuse,
                              client=CLIENT_OF_HAPROXY[mode], check=CHECKS[check],
                              servers="\n".join(names))
        with open(f"{folder}/haproxy.cfg", "w") as file:
            file.write(text)
        self.log = open(f"{folder}/haproxy.log", "wb")
        command = ["haproxy", "-db", "-f", f"{folder}/haproxy.cfg"]
        self.process = network.start(BALANCER, command, stdout=self.log, stderr=self.log)

    def states(self):
        """The state of each server, such as `UP` or `DOWN`."""
        with socket.socket(socket.AF_UNIX) as stats:
            stats.connect(f"{self.folder}/haproxy.sock")
            stats.sendall(b"show stat\n")
            text = b"".join(iter(lambda: stats.recv(65536), b"")).decode()
        rows = [line.split(",") for line in text.lstrip("# ").splitlines() if line]
        place = rows[0].index("status")
        return {row[1]: row[place] for row in rows[1:] if row[1].startswith("s")}

    def wait_up(self, count, seconds=15):
        until = time.monotonic() + seconds
        while True:
            try:
                states = list(self.states().values())
                if states.count("UP") == count:
                    return
            except OSError as error:
                states = error
            if time.monotonic() > until:
                with open(f"{self.folder}/haproxy.log") as log:
                    log = log.read()
                raise SystemExit(f"HAProxy does not see {count} servers: {states}\n{log}")
            time.sleep(0.05)

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()


def load(keep_downloads):
    """The client; runs in its namespace until SIGTERM, and prints what it counted, as JSON."""
    over = []
    signal.signal(signal.SIGTERM, lambda *_: over.append(True))
    load = Load((BALANCER, PORT), ReleaseJudge(LARGE_SIZE))
    small = [Request(HOST, path) for path in [*SMALL, PAGE]]
    own = [Request(HOST, path, close=True) for path in [*SMALL, PAGE]]
    large = [Request(HOST, path, close=not keep_downloads) for path in LARGE]
    for _ in range(32):
        Client(load, small, 0.05, sort="kept open")
    for _ in range(16):
        Client(load, own, 0.05, sort="own connection", own=True)
    for _ in range(4):
        # With kept connections, slow enough to outlast the delay and the second after it.
        Client(load, large, 0.1, sort="download", chunk=65536, receive_buffer=131072,
               own=not keep_downloads, pause=0.04 if keep_downloads else 0.012)
    releases, scripts, own_scripts = {}, [], []

    def seen(release):
        if release not in releases:
            pair = [asset(number) for number in (release - 1, release) if number >= 0]
            scripts[:] = [Request(HOST, path) for path in pair]
            own_scripts[:] = [Request(HOST, path, close=True) for path in pair]
        releases[release] = releases.get(release, 0) + 1

    seen(0)
    for _ in range(4):
        Client(load, scripts, 0.05, sort="kept open")
        Client(load, own_scripts, 0.05, sort="own connection", own=True)
    load.seen = seen
    load.phase = "load"
    load.run(3600, lambda: over)
    load.phase = None
    load.finish()
    times = {sort: [round(1e3 * percentile(values, share), 1) for share in (0.5, 0.99, 1)]
             for (_, sort), values in load.latencies.items()}
    print(json.dumps([load.counts, load.examples, releases, times]))


class Roll:
    """One run: the servers, HAProxy and the client, and what the client counted."""

    def __init__(self, options, network, judge, mode, delay):
        self.options, self.network, self.mode, self.delay = options, network, mode, delay
        self.folder = tempfile.mkdtemp(prefix="rolling-")
        judge.write(self.folder)
        self.replicas = [Replica(network, address, options, self.folder, mode, delay)
                         for address in SERVERS]
        self.balancer = self.client = None
        self.releases, self.turns = 0, []
        self.tags, self.logged = None, {}

    def go(self):
        """Returns what the client printed."""
        try:
            for replica in self.replicas:
                replica.start(0)
            options, pipe = self.options, subprocess.PIPE
            self.balancer = Balancer(self.network, self.folder, self.mode, options.check)
            self.balancer.wait_up(len(SERVERS))
            command = [sys.executable, __file__, "--load"]
            command += ["--keep-downloads"] * options.keep_downloads
            self.client = self.network.start(CLIENT, command, stdout=pipe)
            time.sleep(2)
            until = time.monotonic() + options.seconds
            while time.monotonic() < until:
                self.releases += 1
                if self.options.assets == "first":
                    for replica in self.replicas:
                        put(replica.fallback, self.releases - 1)
                        put(replica.fallback, self.releases)
                for replica in self.replicas:
                    self.turn(replica)
            self.client.terminate()
            counted = json.loads(self.client.communicate(timeout=60)[0])
            command = [sys.executable, __file__, "--tags", self.mode]
            tags = self.network.start(BALANCER, command, stdout=pipe)
            self.tags = json.loads(tags.communicate(timeout=60)[0])
            for replica in self.replicas:
                replica.end()
                self.logged[replica.address] = clients_in(replica.log)
            return counted
        finally:
            self.end()

    def turn(self, replica):
        """Replaces one server."""
        replica.leave()
        self.turns.append(replica.end())
        replica.start(self.releases)
        # HAProxy may not have noticed yet that the server was gone.
        time.sleep(1)
        self.balancer.wait_up(len(SERVERS))

    def end(self):
        for process in [replica.process for replica in self.replicas] + [self.client]:
            if process and process.poll() is None:
                process.kill()
                process.wait()
        if self.balancer:
            self.balancer.stop()
        shutil.rmtree(self.folder)


def report(counts, examples, releases, times):
    """Prints what the client counted. Returns the number of failures."""
    failures = {kind: counts.get(kind, 0) for kind in FAILURES}
    others = {kind: number for kind, number in sorted(counts.items()) if kind not in FAILURES}
    print(f"  failures {sum(failures.values())}: {failures}")
    print(f"  {others}; answers by release: {releases}")
    for sort, values in times.items():
        print(f"  {sort}, ms: p50 {values[0]}, p99 {values[1]}, max {values[2]}")
    for kind in FAILURES:
        for example in examples.get(kind, []):
            print(f"    {kind}: {example}")
    return sum(failures.values())


def judge_tags_and_logs(roll):
    """Prints what the tags and the logs are. Returns what is wrong with them."""
    tag, statuses = roll.tags
    print(f"  the tag {tag} of the first server gets {statuses}")
    print(f"  lines in the logs by client: {roll.logged}")
    same = roll.options.etag == "content"
    found = [] if (statuses == [304] * len(SERVERS)) == same else ["tags"]
    only = all(set(clients) == {CLIENT} for clients in roll.logged.values())
    return found if only else [*found, "clients in the logs"]


def unable(options):
    """Why this machine cannot run the script, or None."""
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    for program in ("ip", "haproxy"):
        if not shutil.which(program):
            return f"there is no {program}; apt install iproute2 haproxy"
    name = f"rolling{os.getpid()}-try"
    made = subprocess.run(["ip", "netns", "add", name], check=False,
                          capture_output=True, text=True)
    if made.returncode != 0:
        return f"ip netns add: {made.stderr.strip()}"
    run("ip", "netns", "delete", name)
    if not shutil.which(options.binary):
        return f"there is no program {options.binary}; cargo build --release makes it"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--binary", default="target/release/ringd", help="path of ringd")
    parser.add_argument("--driver", default="auto")
    parser.add_argument("--modes", nargs="+", choices=["http", "tcp"], default=["http", "tcp"])
    parser.add_argument("--delays", nargs="+", default=["2s", "0s"])
    parser.add_argument("--check", choices=list(CHECKS), default="ready")
    parser.add_argument("--assets", choices=COPIES, default="first")
    parser.add_argument("--etag", choices=["content", "stat"], default="content")
    parser.add_argument("--seconds", type=float, default=60, help="for each run, at least")
    parser.add_argument("--keep-downloads", action="store_true",
                        help="slower downloads, on connections that are kept open")
    parser.add_argument("--load", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--tags", choices=["http", "tcp"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        return load(options.keep_downloads)
    if options.tags:
        servers = [(address, PORT) for address in SERVERS]
        print(json.dumps(compare_tags(servers, FIRST_LINE[options.tags])))
        return 0
    reason = unable(options)
    if reason:
        print(f"skipped: {reason}")
        return 0
    # So that what was started and made is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    version = run("haproxy", "-v").split()[2]
    print(f"ringd --driver {options.driver}, HAProxy {version}, --check {options.check}")
    print(machine(), flush=True)
    wrong = []
    judge = ReleaseJudge(LARGE_SIZE)
    with Network() as network:
        for mode in options.modes:
            for delay in options.delays:
                roll = Roll(options, network, judge, mode, delay)
                print(f"mode {mode}, --drain-delay {delay}", flush=True)
                counted = roll.go()
                print(f"  {len(roll.turns)} servers replaced in {roll.releases} rounds; each ended "
                      f"{min(roll.turns):.1f} to {max(roll.turns):.1f} s after SIGTERM")
                failed = report(*counted)
                expected = delay == "0s" or options.check == "get" or options.assets != "first"
                either = options.keep_downloads and mode == "tcp" and not expected
                if bool(failed) != expected and not either:
                    wrong.append(f"{mode} {delay}")
                wrong += [f"{mode} {delay}: {what}" for what in judge_tags_and_logs(roll)]
    print(f"not as it has to be: {', '.join(wrong)}" if wrong else "all as it has to be")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
