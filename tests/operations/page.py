"""What metrics.md says: its tables of metrics, and its queries."""

import re
from dataclasses import dataclass

TYPES = ["counter", "gauge", "histogram"]

# Labels that Prometheus adds.
TARGET_LABELS = {"job", "instance"}


@dataclass
class Metric:
    """A row of a table: the name as in the text of Prometheus, `_total` included."""

    name: str
    type: str
    labels: list

    def series(self):
        """The names of its series."""
        if self.type == "histogram":
            return [self.name + suffix for suffix in ("_bucket", "_sum", "_count")]
        return [self.name]


class Page:
    """The page: `metrics` by name, `values` by metric and label, `queries`, `problems`."""

    def __init__(self, text):
        self.metrics, self.problems = {}, []
        header = None
        for line in text.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not line.startswith("|"):
                header = None
            elif header is None:
                header = cells
            elif header[:3] == ["metric", "type", "labels"] and not line.startswith("| ---"):
                self.add(cells)
        blocks = re.findall(r"```promql\n(.*?)```", text, re.DOTALL)
        self.queries = [query for block in blocks for query in block.strip().split("\n\n")]
        self.values = self.documented_values(text)
        if len(self.metrics) < 30 or len(self.queries) < 5:
            self.problems.append("the tables or the queries were not found")

    def add(self, cells):
        name = cells[0].strip("`")
        if len(cells) != 5:
            self.problems.append(f"{name}: {len(cells)} cells in its row, not 5")
        if name in self.metrics:
            self.problems.append(f"{name} has two rows")
        if cells[1] not in TYPES or (cells[1] == "counter") != name.endswith("_total"):
            self.problems.append(f"{name} cannot be a {cells[1]}")
        labels = [label for label in cells[2].split(", ") if label]
        self.metrics[name] = Metric(name, cells[1], labels)

    def documented_values(self, text):
        """The values of labels that have a table: its first column is `kind` of `metric`."""
        values, key = {}, None
        for line in text.splitlines():
            head = re.match(r"\| `(\w+)` of `(\w+)` \|", line)
            if head:
                key = (head[2], head[1])
                if key[0] not in self.metrics:
                    self.problems.append(f"there is no metric {key[0]}")
            elif not line.startswith("|"):
                key = None
            elif key and not line.startswith("| ---"):
                values.setdefault(key, []).extend(re.findall(r"`(\w+)`", line.split("|")[1]))
        return values

    def series(self):
        """All names of series, with the labels that each has."""
        return {
            series: set(metric.labels) | TARGET_LABELS | ({"le"} if "_bucket" in series else set())
            for metric in self.metrics.values()
            for series in metric.series()
        }
