"""The files that are served, and what each answer has to be.

A generation of the configuration has a number; its parity is the variant. Every file exists in
both variants of both sites. Each line of a body names its site, its path and its variant, and the
lengths differ, so an answer that mixes two variants is found wherever they meet.
"""

import os

SMALL = [f"/small/{number}.txt" for number in range(8)]
LARGE = [f"/large/{number}.bin" for number in range(4)]
LISTING = "/list/"
PAGE = "/page.txt"
HOST, EXTRA = "main.test", "extra.test"
STALE = 1.0  # Seconds after a generation was seen; requests sent later must not get an older one.


def content(site, path, variant, size):
    """The bytes of a file; the length differs between the variants."""
    line = f"{site} {path} variant {variant} {'-+'[variant] * 32}\n".encode()
    size += 100 * variant
    return (line * (size // len(line) + 1))[:size]


def files(site, variant, large):
    """All files of a root: the bytes by path. Large files have `large` bytes."""
    found = {path: content(site, path, variant, 1024) for path in [*SMALL, PAGE]}
    found |= {path: content(site, path, variant, large) for path in LARGE}
    found[f"{LISTING}entry-of-{variant}.txt"] = b"listed\n"
    return found


def replace(path, body):
    """Writes a file, atomically for those who read it."""
    with open(path + ".new", "wb") as file:
        file.write(body)
    os.replace(path + ".new", path)


class Judge:
    """Knows what each answer has to be."""

    def __init__(self, large):
        roots = [(site, variant) for site in ("main", "extra") for variant in (0, 1)]
        self.files = {root: files(*root, large) for root in roots}

    def write(self, folder):
        """Writes the roots: `main-0`, `main-1`, `extra-0` and `extra-1`."""
        for (site, variant), contents in self.files.items():
            for path, body in contents.items():
                place = f"{folder}/{site}-{variant}{path}"
                os.makedirs(os.path.dirname(place), exist_ok=True)
                replace(place, body)

    def __call__(self, request, status, generation, body, floor):
        if generation is None:
            kind = "error" if status == 200 else "non-200"
            return kind, f"{request.path}: {status}, no generation"
        if generation < floor:
            return "stale", f"{request.path}: {generation}, long after {floor} was seen"
        variant = generation % 2
        if request.path == LISTING and variant == 1:
            found = status in (403, 404)
            return None if found else ("mixed", f"a listing of generation {generation}: {status}")
        if status != 200:
            return "non-200", f"{request.path}: {status}"
        site = "extra" if request.host == EXTRA and variant == 1 else "main"
        if request.path == LISTING:
            right = b"entry-of-0" in body
        else:
            right = body == self.files[site, variant][request.path]
        if right:
            return None
        return "mixed", f"{request.host}{request.path} of {generation}: {len(body)}, {body[:60]!r}"
