"""Checks that Grafana can import the dashboard as it is."""

import json
import re

WIDTH = 24
VARIABLES = ["datasource", "instance", "site"]

# Variables that Grafana defines. `${1}` is part of a regular expression.
BUILT_IN = {"__rate_interval", "__all", "1"}

# Grafana 10.0 has version 38, and migrates older ones; it does not know newer ones.
SCHEMA_MAX = 38


def check_dashboard(files):
    """The structure; the queries are checked elsewhere."""
    board = json.loads(files["grafana.json"])
    problems = []
    if board["id"] is not None or not board["uid"] or board["schemaVersion"] > SCHEMA_MAX:
        problems.append("the id has to be null, the uid a text, the version one of Grafana 10")
    if "__inputs" in board:
        problems.append("an import would ask for inputs")
    variables = [variable["name"] for variable in board["templating"]["list"]]
    if variables != VARIABLES:
        problems.append(f"the variables are {variables}")
    used = set(re.findall(r"\$\{?(\w+)", files["grafana.json"]))
    problems += [f"there is no variable {name}" for name in used - set(variables) - BUILT_IN]
    sources = re.findall(r'"type": "prometheus",\s*"uid": "(.*?)"', files["grafana.json"])
    problems += [f"a fixed data source: {uid}" for uid in sources if uid != "${datasource}"]
    return problems + check_panels(board["panels"])


def check_panels(panels):
    problems, taken = [], {}
    if len({panel["id"] for panel in panels}) != len(panels):
        problems.append("two panels have one id")
    for panel in panels:
        title, grid = panel["title"], panel["gridPos"]
        refs = [target["refId"] for target in panel["targets"]]
        if len(set(refs)) != len(refs):
            problems.append(f"{title}: two queries have one refId")
        for override in panel["fieldConfig"]["overrides"]:
            if override["matcher"]["options"] not in refs:
                problems.append(f"{title}: an override of no query")
        if grid["x"] + grid["w"] > WIDTH:
            problems.append(f"{title}: too wide")
        for x in range(grid["x"], grid["x"] + grid["w"]):
            for y in range(grid["y"], grid["y"] + grid["h"]):
                if taken.setdefault((x, y), title) != title:
                    problems.append(f"{title} covers {taken[x, y]}")
                    break
            else:
                continue
            break
    return problems
