#!/usr/bin/env python3
"""Whether `ringd bench` agrees with itself: repeats it, and counts verdicts that agree.

    python3 docs/measure-agreement.py target/release/ringd
    python3 docs/measure-agreement.py target/release/ringd --runs 10 --keep runs -- --driver epoll,poll
    python3 docs/measure-agreement.py --from runs

Options after `--` are those of `ringd bench`; without them, the grid is the default one. --keep
names a folder for the reports, which --from reads again without measuring.

A verdict is what a run says of a server in a row: less CPU time than the first server, more, or a
tie. The script prints each row with its verdicts in the order of the runs (`<`, `>`, `=`, and `?` for
too few rounds), the smallest and the largest ratio, and three counts:

- agreeing verdicts: those that are the most frequent one of their row;
- unanimous rows: all runs have the same verdict;
- contradictions: rows in which one run says less and another one says more.

The exit code is 1 if fewer than 95 % of the verdicts agree, or if there is a contradiction.
"""

import argparse
import collections
import json
import pathlib
import subprocess
import sys

SIGNS = {"less": "<", "more": ">", "tie": "=", "unknown": "?"}
AGREEING_MIN = 0.95


def make_parser():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("binary", nargs="?", help="the program, of a release build")
    parser.add_argument("--runs", type=int, default=10, help="how often (10)")
    parser.add_argument("--keep", type=pathlib.Path, help="a folder for the reports")
    parser.add_argument(
        "--from", type=pathlib.Path, dest="source", help="a folder with reports, instead of runs"
    )
    return parser


def measure(options, extra):
    """The reports of all runs, one after the other."""
    for number in range(1, options.runs + 1):
        print(f"run {number} of {options.runs}", file=sys.stderr, flush=True)
        command = [options.binary, "bench", "--json", *extra]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed")
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            (options.keep / f"{number:03}.json").write_text(done.stdout)
        yield json.loads(done.stdout)


def read(folder):
    files = sorted(folder.glob("*.json"))
    if not files:
        raise SystemExit(f"{folder} has no reports (*.json)")
    return [json.loads(file.read_text()) for file in files]


def name(cell):
    parts = [f"{cell['bytes']} B", f"{cell['connections']} connections", cell["shape"]]
    if cell["protocol"] == "HTTP/2":
        parts.append(f"HTTP/2 with {cell['streams']} streams")
    if cell["tls"]:
        parts.append(f"TLS {cell['tls']}")
    if cell["idle"]:
        parts.append(f"{cell['idle']} idle")
    if cell["client"] != "awake":
        parts.append(cell["client"])
    return ", ".join(parts)


def verdicts(reports):
    """The verdict and the ratio of each run, by row and server."""
    found = collections.defaultdict(list)
    for report in reports:
        for row in report["rows"]:
            for result in row["results"]:
                compared = (result["comparison"] or {}).get("cpu")
                if compared:
                    key = f"{result['server']}: {name(row['cell'])}"
                    found[key].append((compared["verdict"], compared["ratio"]))
    return found


def show(found):
    """Prints the rows and the counts; returns whether the runs agree."""
    if not found:
        raise SystemExit("no row has two servers with a known CPU time: there is nothing to compare")
    agreeing = total = unanimous = contradictions = 0
    width = max(map(len, found))
    for key, runs in found.items():
        counts = collections.Counter(verdict for verdict, _ in runs)
        agreeing += counts.most_common(1)[0][1]
        total += len(runs)
        unanimous += len(counts) == 1
        contradictions += {"less", "more"} <= counts.keys()
        signs = "".join(SIGNS[verdict] for verdict, _ in runs)
        ratios = [ratio for _, ratio in runs]
        print(f"{key:{width}}  {signs}  {min(ratios):.3f} to {max(ratios):.3f}")
    share = agreeing / total
    print(f"\nagreeing verdicts: {agreeing} of {total} ({share:.1%})")
    print(f"unanimous rows: {unanimous} of {len(found)}")
    print(f"contradictions: {contradictions}")
    return share >= AGREEING_MIN and not contradictions


def main():
    arguments = sys.argv[1:]
    at = arguments.index("--") if "--" in arguments else len(arguments)
    options = make_parser().parse_args(arguments[:at])
    if not options.source and not options.binary:
        raise SystemExit("name the program, such as target/release/ringd, or a folder with --from")
    reports = read(options.source) if options.source else measure(options, arguments[at + 1 :])
    sys.exit(0 if show(verdicts(reports)) else 1)


if __name__ == "__main__":
    main()
