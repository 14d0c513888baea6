"""Checks of the alerts and of all queries, with promtool."""

import json
import re
import subprocess
import tempfile
from pathlib import Path

import yaml

from page import Page

# What Grafana replaces before it sends a query.
VARIABLES = {"$__rate_interval": "5m", "$instance": ".+", "$site": ".*"}

# Labels that queries add themselves.
ADDED_LABELS = {"class"}

# A comparison with a number, and one that always holds. NaN aside, which no test uses.
COMPARISON = re.compile(r"(==|>=|>|<) [0-9.]+")
ALWAYS = "> -Inf"


def promtool(files, *arguments, stdin=None):
    """Runs promtool in a folder with these files. Returns the lines of its complaint."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text)
        done = subprocess.run(["promtool", *arguments], cwd=folder, input=stdin, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    if done.returncode == 0:
        return []
    lines = [line.strip().removeprefix("FAILED:").strip() for line in done.stdout.splitlines()]
    said = [line for line in lines if line and not line.startswith(("Checking", "Unit"))]
    return said or [f"promtool ended with {done.returncode}"]


def check_rules(files):
    return [
        *promtool(files, "check", "rules", "prometheus-rules.yml"),
        *promtool(files, "check", "config", "prometheus.yml"),
    ]


def check_alerts(files):
    return promtool(files, "test", "rules", "prometheus-rules.test.yml")


def alerts(files):
    groups = yaml.safe_load(files["prometheus-rules.yml"])["groups"]
    return [rule for group in groups for rule in group["rules"]]


def check_cases(files):
    """Each alert needs a case that fires and one that does not, and the tests have to fail if one
    of its conditions always holds, or if it does not wait."""
    problems = []
    tests = yaml.safe_load(files["prometheus-rules.test.yml"])["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    for place, rule in enumerate(alerts(files)):
        name = rule["alert"]
        fires = {bool(case["exp_alerts"]) for case in cases if case["alertname"] == name}
        problems += [f"{name}: no case that {'fires' if kind else 'does not fire'}"
                     for kind in (True, False) if kind not in fires]
        problems += [f"{name}: no {part}" for part in ("summary", "description")
                     if not rule.get("annotations", {}).get(part)]
        if rule.get("labels", {}).get("severity") not in ("critical", "warning"):
            problems.append(f"{name}: no severity")
        for what, mutant in mutants(rule):
            changed = yaml.safe_load(files["prometheus-rules.yml"])
            changed["groups"][0]["rules"][place] = mutant
            if not check_alerts(files | {"prometheus-rules.yml": yaml.safe_dump(changed)}):
                problems.append(f"{name}: no test notices it {what}")
    return problems


def mutants(rule):
    for found in COMPARISON.finditer(rule["expr"]):
        expr = rule["expr"][:found.start()] + ALWAYS + rule["expr"][found.end():]
        yield f"if {found[0]!r} always holds", rule | {"expr": expr}
    if "for" in rule:
        yield "if it does not wait", {key: rule[key] for key in rule if key != "for"}


def dashboard_queries(files):
    """The queries of the dashboard, as Grafana sends them, by where they stand."""
    queries = {}
    for panel in json.loads(files["grafana.json"])["panels"]:
        for target in panel["targets"]:
            expr = target["expr"]
            for variable, value in VARIABLES.items():
                expr = expr.replace(variable, value)
            queries[f"{panel['title']} {target['refId']}"] = expr
    return queries


def page_queries(files):
    return {query.split("\n")[0]: query for query in Page(files["metrics.md"]).queries}


def variable_queries(files):
    """The series that the variables of the dashboard take their values from."""
    found = re.findall(r'"query": "label_values\((.*), (\w+)\)"', files["grafana.json"])
    return {f"variable {label}": f"count by ({label}) ({series})".replace("\\", "")
            .replace("$instance", ".+") for series, label in found}


def check_queries(files):
    problems = []
    queries = dashboard_queries(files) | page_queries(files) | variable_queries(files)
    for place, expr in queries.items():
        rule = {"groups": [{"name": "g", "rules": [{"record": "query", "expr": expr}]}]}
        found = promtool({"query.yml": json.dumps(rule)}, "check", "rules", "query.yml")
        problems += [f"{place}: {line}" for line in found[-1:]]
    return problems


def check_names(files):
    """Names of metrics and labels have to be those of the page."""
    series = Page(files["metrics.md"]).series()
    known = set().union(*series.values()) | ADDED_LABELS
    rules = {rule["alert"]: rule["expr"] for rule in alerts(files)}
    tests = yaml.safe_load(files["prometheus-rules.test.yml"])["tests"]
    inputs = {row["series"]: row["series"] for test in tests for row in test["input_series"]}
    queries = dashboard_queries(files) | page_queries(files) | variable_queries(files)
    problems = []
    for place, expr in (rules | inputs | queries).items():
        for name, matchers in re.findall(r"\b((?:ringd|process)_\w+)(?:\{(.*?)\})?", expr):
            if name not in series:
                problems.append(f"{place}: metrics.md has no {name}")
                continue
            labels = set(re.findall(r'(\w+)(?:=~|!~|!=|=)"', matchers))
            problems += [f"{place}: {name} has no label {label}" for label in labels - series[name]]
        for labels in re.findall(r"\b(?:by|on|group_left|without|ignoring) \((.*?)\)", expr):
            wrong = {label.strip() for label in labels.split(",")} - known
            problems += [f"{place}: there is no label {label}" for label in wrong
                         if re.fullmatch(r"\w+", label)]
    return problems
