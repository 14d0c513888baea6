#!/usr/bin/env python3
"""Checks the files for monitoring in docs/operations, and the metrics of a running server.

    tests/operations/check.py                                # the files
    tests/operations/check.py --url http://127.0.0.1:9090    # and a server's admin listener
    tests/operations/check.py --prove                        # each check fails when it has to

Needs promtool and prometheus, python3-yaml, and prometheus-client for --url and --prove; README.md
says where they are from. A missing tool is an error, not a skipped check.

The exit code is 1 if a check fails. --prove breaks something for each check, on purpose, and fails
if the check does not notice it. It first runs with nothing broken, because a check that fails then
proves nothing.
"""

import argparse
import importlib.util
import shutil
import sys
from pathlib import Path

import dashboard
import rules
import scrape
from page import Page

FOLDER = Path(__file__).parents[2] / "docs" / "operations"
FILES = ["metrics.md", "grafana.json", "prometheus.yml", "prometheus-rules.yml",
         "prometheus-rules.test.yml"]

# Each check takes the texts of the files by their names, and returns what is wrong.
CHECKS = {
    "page": lambda files: Page(files["metrics.md"]).problems,
    "rules": rules.check_rules,
    "alerts": rules.check_alerts,
    "cases": rules.check_cases,
    "names": rules.check_names,
    "queries": rules.check_queries,
    "dashboard": dashboard.check_dashboard,
    "data": scrape.check_data,
}

# What --prove breaks: the check that has to notice it, the file, a text in it, its replacement.
BREAKS = [
    ("page", "metrics.md", "| `ringd_ready` | gauge |", "| `ringd_ready` | gadget |"),
    ("page", "metrics.md", "| `ringd_ready` |", "| `ringd_workers` |"),
    ("rules", "prometheus-rules.yml", "for: 10m", "for: ten"),
    ("rules", "prometheus-rules.yml", "up{job=\"ringd\"} ==", "up{job=\"ringd\"} ="),
    ("rules", "prometheus.yml", "job_name", "jobname"),
    ("rules", "prometheus.yml", "prometheus-rules.yml", "prometheus-rule.yml"),
    ("alerts", "prometheus-rules.yml", ">= 0.9", ">= 0.99"),
    ("alerts", "prometheus-rules.test.yml", "hangs with 4", "hangs with 5"),
    ("cases", "prometheus-rules.test.yml", "\"quiet\", site=\"a\", code=\"500\"",
     "\"quiet\", site=\"a\", code=\"404\""),
    ("cases", "prometheus-rules.yml", "- alert: RingdSlow",
     "- alert: RingdUntested\n        expr: ringd_ready == 2\n      - alert: RingdSlow"),
    ("alerts", "prometheus-rules.yml", "< 0.3333", "< 0.6667"),
    ("alerts", "prometheus-rules.yml", "not_tls|malformed|timed_out|abandoned|decrypt_error", "malformed"),
    ("names", "prometheus-rules.yml", "ringd_connections > 0", "ringd_connection > 0"),
    ("names", "grafana.json", "kind!=\\\"idle\\\"", "sort!=\\\"idle\\\""),
    ("names", "metrics.md", "count by (driver, kernel)", "count by (drive, kernel)"),
    ("queries", "grafana.json", "histogram_quantile(0.99, ", "histogram_quantile(0.99 "),
    ("queries", "metrics.md", "up{job=\"ringd\"}\n", "up{job=\"ringd\"\n"),
    ("dashboard", "grafana.json", "\"uid\": \"${datasource}\"", "\"uid\": \"P1809F7CD0C75ACF3\""),
    ("dashboard", "grafana.json", "\"name\": \"site\"", "\"name\": \"page\""),
    ("dashboard", "grafana.json", "\"y\": 8", "\"y\": 7"),
    ("dashboard", "grafana.json", "\"refId\": \"B\"", "\"refId\": \"A\""),
    ("data", "grafana.json", "result=\\\"hit\\\"", "result=\\\"hits\\\""),
    ("data", "metrics.md", "max by (job, instance)", "max by (instance)"),
]

# The same for a server: the check, a text in its answer, its replacement.
ANSWER_BREAKS = [
    ("promtool", "prometheus", "# HELP ringd_ready", "# HELPS ringd_ready"),
    ("promtool", "prometheus", "ringd_ready 1", "ringd_ready one"),
    ("parsers", "openmetrics", "# EOF\n", ""),
    ("parsers", "openmetrics", "ringd_ready 1", "ringd_ready 1 # {"),
    ("parsers", "prometheus", "ringd_ready 1", "ringd_ready one"),
    ("documented", "prometheus", "ringd_ready", "ringd_raedy"),
    ("documented", "openmetrics", "worker=", "thread="),
    ("documented", "openmetrics", "# TYPE ringd_ready gauge", "# TYPE ringd_ready unknown"),
    ("documented", "prometheus", "reason=\"not_tls\"", "reason=\"no_tls\""),
    ("documented", "prometheus", "le=\"1.048576\"", "le=\"1\""),
]


def read():
    return {name: (FOLDER / name).read_text() for name in FILES}


def report(name, problems):
    print(f"{name}: {'ok' if not problems else f'{len(problems)} problems'}", flush=True)
    for problem in problems:
        print(f"  {problem}")
    return bool(problems)


def noticed(what, problems):
    """Reports what a check says of something broken. Returns whether it says nothing."""
    print(f"{what}: {f'noticed: {problems[0]}' if problems else 'NOT NOTICED'}", flush=True)
    return not problems


def replaced(text, old, new, what):
    if old not in text:
        sys.exit(f"{what} cannot be broken: it has no {old!r}")
    return text.replace(old, new)


def prove():
    """Breaks one thing after the other. Returns how many breaks were not noticed."""
    files = read()
    answers = scrape.example(Page(files["metrics.md"]))
    whole = [report(name, check(files)) for name, check in CHECKS.items()]
    whole += [report(name, problems) for name, problems in scrape.check(answers, files).items()]
    if any(whole):
        sys.exit("nothing is broken yet, so these checks prove nothing")
    missed = 0
    for check, file, old, new in BREAKS:
        broken = files | {file: replaced(files[file], old, new, file)}
        missed += noticed(f"{check}, {file}: {new!r}", CHECKS[check](broken))
    for check, form, old, new in ANSWER_BREAKS:
        media, text = answers[form]
        broken = answers | {form: (media, replaced(text, old, new, form))}
        missed += noticed(f"{check}, {form}: {new!r}", scrape.check(broken, files)[check])
    broken = answers | {"openmetrics": ("text/plain", answers["openmetrics"][1])}
    missed += noticed("media, openmetrics: 'text/plain'", scrape.check(broken, files)["media"])
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--url", help="the admin listener of a running server")
    parser.add_argument("--prove", action="store_true", help="break something for each check")
    options = parser.parse_args()
    for tool in ["promtool", "prometheus"]:
        if not shutil.which(tool):
            parser.error(f"there is no program {tool}: apt install prometheus")
    if (options.url or options.prove) and not importlib.util.find_spec("prometheus_client"):
        parser.error("there is no module prometheus_client: pip install prometheus-client")
    if options.prove:
        missed = prove()
        print(f"{missed} not noticed" if missed else "each check can fail")
        return bool(missed)
    files = read()
    failed = [report(name, check(files)) for name, check in CHECKS.items()]
    if options.url:
        url = options.url.rstrip("/")
        found = scrape.check(scrape.fetch(url), files)
        failed += [report(name, problems) for name, problems in found.items()]
        failed.append(report("health", scrape.check_health(url)))
    return any(failed)


if __name__ == "__main__":
    sys.exit(main())
