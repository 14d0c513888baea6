"""Checks of metrics as a server exposes them, and of queries on metrics that are made up."""

import contextlib
import http.server
import itertools
import json
import math
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from page import Page
from rules import dashboard_queries, page_queries, promtool, variable_queries

ACCEPT = {"prometheus": "text/plain;version=0.0.4",
          "openmetrics": "application/openmetrics-text;version=1.0.0"}
BOUNDS = {"ringd_request_duration_seconds": [16 * 4**at / 1e6 for at in range(12)],
          "ringd_response_size_bytes": [256 * 4**at for at in range(10)]}

# Values of labels that have no table in metrics.md, for metrics that are made up.
VALUES = {"version": ["0.1.0"], "driver": ["uring"], "kernel": ["6.12"], "worker": ["0", "1"],
          "site": ["", "a"], "code": ["200", "404", "500"], "level": ["warn"],
          "result": ["written", "dropped"], "name": ["a.example"]}

# What a server has only if a listener has TLS.
TLS = "ringd_tls_"

PROMETHEUS_MAX = 20  # Seconds until all queries have data.


def example(page, growth=1):
    """The metrics of the page with made up values, in both formats: (media type, text)."""
    texts = {"prometheus": "", "openmetrics": ""}
    for metric in page.metrics.values():
        names = [page.values.get((metric.name, label), VALUES.get(label))
                 for label in metric.labels]
        for form in texts:
            is_open = form == "openmetrics"
            family = metric.name.removesuffix("_total") if is_open else metric.name
            texts[form] += f"# HELP {family} Made up.\n# TYPE {family} {metric.type}\n"
            for values in itertools.product(*names):
                labels = [f'{label}="{value}"' for label, value in zip(metric.labels, values)]
                value = growth if metric.type == "counter" else 1
                texts[form] += "".join(lines(metric, labels, value, growth))
    return {"prometheus": ("text/plain; version=0.0.4; charset=utf-8", texts["prometheus"]),
            "openmetrics": ("application/openmetrics-text; version=1.0.0; charset=utf-8",
                            texts["openmetrics"] + "# EOF\n")}


def lines(metric, labels, value, growth):
    def line(suffix, labels, value):
        return f"{metric.name}{suffix}{{{','.join(labels)}}} {value}\n" if labels else \
            f"{metric.name}{suffix} {value}\n"

    if metric.type != "histogram":
        return [line("", labels, value)]
    bounds = [*map(float, BOUNDS[metric.name]), math.inf]
    texts = ["+Inf" if bound == math.inf else repr(bound) for bound in bounds]
    count = len(bounds) * growth
    return [*(line("_bucket", [*labels, f'le="{text}"'], at * growth)
              for at, text in enumerate(texts, 1)),
            line("_sum", labels, float(growth)), line("_count", labels, count)]


def fetch(url):
    """The metrics of a server in both formats: (media type, text)."""
    answers = {}
    for form, accept in ACCEPT.items():
        request = urllib.request.Request(f"{url}/metrics", headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=10) as answer:
            answers[form] = (answer.headers["Content-Type"], answer.read().decode())
    return answers


def check(answers, files):
    """Checks both formats. Returns what is wrong, by the name of the check."""
    page = Page(files["metrics.md"])
    problems = {"media": [], "promtool": [], "parsers": [], "documented": []}
    for form, (media, _) in answers.items():
        if ACCEPT[form] not in media.replace(" ", ""):
            problems["media"].append(f"{form}: the media type is {media!r}")
    text = answers["prometheus"][1]
    problems["promtool"] = promtool({}, "check", "metrics", stdin=text)
    for form, (_, text) in answers.items():
        try:
            families = parse(form, text)
        except (ValueError, KeyError, AttributeError) as error:
            problems["parsers"].append(f"{form}: {error}")
            continue
        found = {problem: None for problem in compare(families, page)}
        problems["documented"] += [f"{form}: {problem}" for problem in found]
    return problems


def parse(form, text):
    """The families of metrics by their names as in the format of Prometheus."""
    from prometheus_client import parser
    from prometheus_client.openmetrics import parser as open_parser
    read = open_parser if form == "openmetrics" else parser
    families = {}
    for family in read.text_string_to_metric_families(text):
        name = family.name
        if family.type == "counter":
            name = name.removesuffix("_total") + "_total"
        families[name] = family
    return families


def compare(families, page):
    known = page.metrics.keys()
    if not any(name.startswith(TLS) for name in families):
        known = {name for name in known if not name.startswith(TLS)}
    for name in known - families.keys():
        yield f"{name} is in metrics.md only"
    for name in families.keys() - page.metrics.keys():
        yield f"{name} is not in metrics.md"
    for name in families.keys() & page.metrics.keys():
        family, metric = families[name], page.metrics[name]
        if family.type != metric.type:
            yield f"{name} is a {family.type}, in metrics.md a {metric.type}"
        for sample in family.samples:
            labels = set(sample.labels) - ({"le"} if metric.type == "histogram" else set())
            if labels != set(metric.labels):
                yield f"{name} has the labels {sorted(labels)}, in metrics.md {metric.labels}"
        for label in metric.labels:
            documented = page.values.get((name, label))
            values = {sample.labels.get(label, "") for sample in family.samples}
            # A series that begins with its first event hides this event from `increase`.
            if documented and values != set(documented):
                yield f"{name}: {label} differs in {sorted(values ^ set(documented))}"
        if name in BOUNDS:
            bounds = {float(sample.labels["le"]) for sample in family.samples
                      if "le" in sample.labels}
            if bounds != {*BOUNDS[name], math.inf}:
                yield f"{name} has the bounds {sorted(bounds)}"


def check_health(url):
    """The other paths of the admin listener, and whether Prometheus itself can scrape it."""
    problems = []
    for path in ["/", "/healthz", "/readyz", "/status.json"]:
        try:
            with urllib.request.urlopen(url + path, timeout=10) as answer:
                text = answer.read().decode()
            if path.endswith(".json"):
                json.loads(text)
        except (urllib.error.URLError, ValueError) as error:
            problems.append(f"{path}: {error}")
    target = urllib.parse.urlsplit(url).netloc
    without = query_all(target, {"a scrape by Prometheus": 'up{job="ringd"} == 1'})
    return problems + [f"{name}: failed" for name in without]


def check_data(files):
    """Each query of the dashboard and of the page has to find something in metrics that are made
    up. A query with a wrong label is valid, but finds nothing."""
    page = Page(files["metrics.md"])
    begun = time.monotonic()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            growth = 1 + int(100 * (time.monotonic() - begun))
            form = "openmetrics" if "openmetrics" in self.headers["Accept"] else "prometheus"
            media, text = example(page, growth)[form]
            self.send_response(200)
            self.send_header("Content-Type", media)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        queries = dashboard_queries(files) | page_queries(files) | variable_queries(files)
        without = query_all(f"127.0.0.1:{server.server_port}", queries)
        server.shutdown()
    return [f"{place}: no data" for place in without]


def query_all(target, queries):
    """Lets Prometheus scrape a server. Returns the names of the queries that find no number."""
    job = {"job_name": "ringd", "static_configs": [{"targets": [target]}]}
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
    with running(config) as ask:
        end, left = time.monotonic() + PROMETHEUS_MAX, queries
        while left and time.monotonic() < end:
            time.sleep(1)
            left = {name: query for name, query in left.items() if not has_number(ask(query))}
    return list(left)


def has_number(answer):
    rows = answer.get("data", {}).get("result", [])
    return any(not math.isnan(float(row["value"][1])) for row in rows)


@contextlib.contextmanager
def running(config):
    """Runs Prometheus. Yields a function that asks a query."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % free.getsockname()[1]

    def ask(query):
        url = f"http://{address}/api/v1/query?" + urllib.parse.urlencode({"query": query})
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.URLError:
            return {}  # Not started yet, or a query that is not valid.

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prometheus.yml"
        file.write_text(json.dumps(config))
        process = subprocess.Popen(
            ["prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address={address}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield ask
        finally:
            process.terminate()
            process.wait()
