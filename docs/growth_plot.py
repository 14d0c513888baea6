"""Line plots for measure-growth.py, as SVG: one picture for an axis, a panel for each figure.

Colours and the dark mode are those of src/bench/plot.rs.
"""

import collections
import html
import math

# The palette of Okabe and Ito, which colour-blind people can distinguish.
COLOURS = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#7f7f7f",
]

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #222 } .title { font-size: 15px; font-weight: 600 }
.note { fill: #666; font-size: 11px } .tick { fill: #666; font-size: 12px }
.end { text-anchor: end } .middle { text-anchor: middle }
.grid { stroke: #ddd } .axis { stroke: #666 } .paper { fill: #fff }
.line { fill: none; stroke-width: 2 } .spread { stroke-width: 1.5; opacity: .6 }
@media (prefers-color-scheme: dark) { text { fill: #ddd } .note, .tick { fill: #999 }
.grid { stroke: #333 } .axis { stroke: #999 } .paper { fill: #111 } }"""

# As narrow as a phone: a page enlarges a plot where there is more room.
WIDTH, LEFT, RIGHT = 340, 66, 24
# Room for the longest label of the left axis, whatever font there is.
MARGIN = 20
TOP, PANEL, GAP, BOTTOM = 150, 210, 64, 52

# The approximate width of a letter of a tick's label.
LETTER = 6.8

# A figure's title, whether its scale is linear or log, and for each driver the places with the
# median, the minimum and the maximum.
Panel = collections.namedtuple("Panel", "title scale lines")


class Places:
    """The horizontal axis: logarithmic, with a place for zero before the smallest value."""

    def __init__(self, places):
        self.places = sorted(places)
        some = [place for place in self.places if place > 0] or [1]
        self.low, high = math.log(some[0]), math.log(some[-1])
        # Zero is an eighth of the axis before the first value.
        self.zero = self.low - max((high - self.low) / 8, 0.1)
        self.first = self.zero if self.places and self.places[0] == 0 else self.low
        self.span = (high - self.first) or 1
        # Lines do not begin at the edge.
        self.inset = 14

    def x(self, place):
        where = self.zero if place == 0 else math.log(place)
        room = WIDTH - LEFT - RIGHT - 2 * self.inset
        return LEFT + self.inset + room * (where - self.first) / self.span


class Scale:
    """The vertical axis of a panel: linear from zero, or powers of ten."""

    def __init__(self, panel, top):
        values = [value for line in panel.lines.values() for point in line for value in point[1:]]
        low, high = min(values, default=1), max(values, default=1)
        self.log, self.top = panel.scale == "log" and low > 0, top
        if self.log:
            self.low, self.high = math.floor(math.log10(low)), math.ceil(math.log10(high))
            self.high += self.high == self.low
            self.ticks = [10.0**power for power in range(self.low, self.high + 1)]
            # A label for each power, as far as there is room.
            every = 1 + len(self.ticks) // 9
            self.ticks = self.ticks[::every]
        else:
            step = 10.0 ** math.floor(math.log10(high / 2 or 1))
            step *= next(times for times in (1, 2, 5, 10) if high / (step * times) <= 5)
            self.ticks = [step * number for number in range(math.ceil(high / step) + 1)]
            self.low, self.high = 0, self.ticks[-1]

    def y(self, value):
        where = math.log10(value) if self.log else value
        return self.top + PANEL * (1 - (where - self.low) / (self.high - self.low))


def text(x, y, kind, content):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{html.escape(content)}</text>'


def line(x1, y1, x2, y2, kind, more=""):
    return f'<path class="{kind}" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"{more}/>'


def marker(x, y, number):
    """A disc for the first line, a square for the second one, and so on in turn."""
    colour = COLOURS[number % len(COLOURS)]
    if number % 2 == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
    return f'<rect x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7" fill="{colour}"/>'


class Plot:
    """Panels one above the other, over the same places."""

    def __init__(self, title, notes, label, name, panels):
        """`label` and `name` are for the horizontal axis: what it is, and what a place is called.
        """
        self.title, self.notes, self.label, self.name = title, notes, label, name
        self.panels = panels
        lines = [line for panel in panels for line in panel.lines.values()]
        self.places = Places({point[0] for line in lines for point in line})

    def svg(self):
        height = TOP + len(self.panels) * (PANEL + GAP) - GAP + BOTTOM
        parts = [
            '<svg xmlns="http://www.w3.org/2000/svg" '
            f'viewBox="{-MARGIN} 0 {WIDTH + MARGIN} {height}" width="{WIDTH + MARGIN}" '
            f'height="{height}" role="img">',
            f"<title>{html.escape(self.title)}</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="paper" x="{-MARGIN}" width="{WIDTH + MARGIN}" height="{height}"/>',
            text(0, 28, "title", self.title),
            self.legend(),
        ]
        notes = [part for note in self.notes for part in note.split("; ")]
        parts += [text(0, 70 + 15 * turn, "note", note) for turn, note in enumerate(notes)]
        for number, panel in enumerate(self.panels):
            parts.append(self.panel(panel, TOP + number * (PANEL + GAP)))
        parts.append(text((LEFT + WIDTH - RIGHT) / 2, height - 12, "middle", self.label))
        return "\n".join(parts) + "\n</svg>\n"

    def legend(self):
        parts, x = [], 0
        for number, driver in enumerate(self.panels[0].lines if self.panels else []):
            colour = f' stroke="{COLOURS[number % len(COLOURS)]}"'
            parts += [line(x, 46, x + 22, 46, "line", colour), marker(x + 11, 46, number)]
            parts.append(text(x + 27, 50, "", driver))
            x += LETTER * len(driver) + 45
        return "\n".join(parts)

    def panel(self, panel, top):
        scale = Scale(panel, top)
        parts = [text(0, top - 13, "", panel.title)]
        for tick in scale.ticks:
            y = scale.y(tick)
            name = f"{tick:,.0f}" if tick == int(tick) else f"{tick:.2g}"
            parts.append(line(LEFT, y, WIDTH - RIGHT, y, "grid"))
            parts.append(text(LEFT - 8, y + 4, "tick end", name))
        parts.append(self.ticks(top + PANEL))
        for number, points in enumerate(panel.lines.values()):
            parts.append(self.line(points, scale, number))
        return "\n".join(parts)

    def ticks(self, bottom):
        """A mark for each place, and a name where there is room for it: the last one has a name."""
        parts, free = [line(LEFT, bottom, WIDTH - RIGHT, bottom, "axis")], 0
        last = self.places.places[-1] if self.places.places else 0
        end = self.places.x(last) - LETTER * len(self.name(last)) / 2 - 4
        for place in self.places.places:
            x, name = self.places.x(place), self.name(place)
            parts.append(line(x, bottom, x, bottom + 5, "axis"))
            half = LETTER * len(name) / 2
            if x - half >= free and (place == last or x + half <= end):
                parts.append(text(x, bottom + 18, "tick middle", name))
                free = x + half + 4
        return "\n".join(parts)

    def line(self, points, scale, number):
        """Medians, and thin lines from the smallest to the largest."""
        colour = f' stroke="{COLOURS[number % len(COLOURS)]}"'
        spots = [(self.places.x(place), scale.y(median)) for place, median, *_ in points]
        # Spreads of different drivers stand beside each other.
        aside = 2 * number - 1
        parts = []
        for (x, _), (_, _, low, high) in zip(spots, points):
            x += aside
            parts.append(line(x, scale.y(low), x, scale.y(high), "spread", colour))
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in spots)
        if path:
            parts.append(f'<path class="line" d="M{path}"{colour}/>')
        parts += [marker(x, y, number) for x, y in spots]
        return "\n".join(parts)
