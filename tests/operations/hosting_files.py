#!/usr/bin/env python3
"""Compares what ringd makes of `_redirects` and `_headers` with the parsers of the services.

    tests/operations/hosting_files.py target/release/ringd
    tests/operations/hosting_files.py target/release/ringd --prove    # the comparison can fail
    tests/operations/hosting_files.py target/release/ringd --show     # and every answer

Needs Node.js 18 and npm. The packages that Netlify and Cloudflare publish are unpacked into a
temporary directory, in the versions below and without their dependencies, which the parsers do not
need. No code of a package runs at that.

Each case of hosting_redirects.py and hosting_headers.py is a site of its own, for each service.
Three things have to be the same: the lines that are reported, the answer to each request (its
status, and the address or the file), and the fields that `_headers` names. A difference is allowed
if the case names it, with a reason and ringd's answer. What a case names has to differ, so that it
names nothing in vain.

Exit codes: 0 if all is as it has to be, 1 if it is not, 2 if the packages cannot be had.
"""

import argparse
import base64
import hashlib
import http.client
import json
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from pathlib import Path
from urllib.parse import urljoin

import hosting_headers
import hosting_redirects
from hosting_case import FILES, REASONS

CASES = hosting_redirects.CASES + hosting_headers.CASES
SERVICES = ["netlify", "cloudflare"]

PACKAGES = {
    "@netlify/redirect-parser@16.1.1":
        "2Wg2em5rUi9EXKz5z4MAUb2Pfoyxm+jJpERYyIuYOwm6pfQHQCBjOD+HoW2CzDS859c0FlxNdnxq50bkfdKiLA==",
    "@netlify/headers-parser@10.1.1":
        "ooiSc/eN/ktuugZmY4GVPh6nBYz2um0zpemokDvTLLQPF12QyXil8N6fr82wdLi03WNowwiL98eultZkTyHlyw==",
    # Netlify's library that applies redirects, as WebAssembly.
    "netlify-redirector@0.5.0":
        "4zdzIP+6muqPCuE8avnrgDJ6KW/2+UpHTRcTbMXCIRxiRmyrX+IZ4WSJGZdHPWF3WmQpXpy603XxecZ9iygN7w==",
    # What Netlify's parsers import.
    "smol-toml@1.9.1":
        "j7WyPdf0CJoutMzMoPLF/bVXHtKZIT9Rb4eGeEbWw8X2t5oirjPgpL+OpaENZrILYaXqYwnVH+qgUwVbl+pUJQ==",
    "escape-string-regexp@5.0.0":
        "/veY75JbMK4j1yjvuUxuVsiS/hr/4iHs9FTT6cgTexxdE0Ly/glccBAkloH/DofkjRbZU3bnoj38mOmhkZ0lHw==",
    "fast-safe-stringify@2.1.1":
        "W+KJc2dmILlPplD/H4K9l9LcAHAfPtP6BY84uVLXQ6Evcz9Lcg33Y2z1IVblT6xdY54PXYVHEv+0Wpq8Io6zkA==",
    # How Cloudflare Pages responds, and the parsers of the same commit.
    "@cloudflare/pages-shared@0.13.189":
        "6SzA8xEt/f+GgTY//ZJDhY9EGVkfOVsGwe/fZCMJuol7C3Wj1HFoi04HrNeB9dN4gWdgGe3websC5yyRYW6pBw==",
    "miniflare@5.20260925.0-alpha":
        "ly2ygNOfuouMiPcyTNEUW6f3+zgndfC45e1nQZ2LSciOSFfrih8V7ciaZ01I/64Ccp3F6fWraxh5VuHPsP3AAw==",
}

# What npm says about a package that is not as it was; with any other message, it is unreachable.
NPM_ERRORS = ["E404", "ETARGET", "EINTEGRITY"]

NOTE = re.compile(r"(?:/|site )([nc]\d+)(?:/|: )(_redirects|_headers):(\d+): (.*)")


def fail(message):
    print(f"hosting files: FAILED: {message}", file=sys.stderr)
    sys.exit(1)


def skip(message):
    print(f"hosting files: skipped: {message}")
    sys.exit(2)


def unpack(folder):
    """Puts the packages into node_modules of a folder."""
    try:
        packed = subprocess.run(
            ["npm", "pack", "--json", "--ignore-scripts", "--fetch-retries=1", *PACKAGES],
            cwd=folder, capture_output=True, text=True, timeout=180)
    except FileNotFoundError:
        skip("there is no npm")
    except subprocess.TimeoutExpired:
        skip("npm has not answered for 3 minutes")
    if packed.returncode != 0:
        lines = packed.stderr.strip().splitlines() or ["npm fails without a message"]
        message = next((line for line in lines if "npm error" in line or "ERR!" in line), lines[0])
        if any(error in packed.stderr for error in NPM_ERRORS):
            fail(f"a package is not there any more: {message}")
        skip(f"npm cannot fetch the packages: {message}")
    for one in json.loads(packed.stdout):
        name, archive = f"{one['name']}@{one['version']}", folder / one["filename"]
        digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if digest != PACKAGES[name]:
            fail(f"{name} is not what it was: sha512-{digest}")
        place = folder / "node_modules" / one["name"]
        with tarfile.open(archive) as tar:
            for member in filter(tarfile.TarInfo.isfile, tar.getmembers()):
                # A package has one folder around its files, of any name.
                path = place / member.name.partition("/")[2]
                if path.suffix in [".js", ".json", ".wasm"]:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(tar.extractfile(member).read())


def parsed(folder, cases):
    """What the parsers of the services make of each case."""
    program = Path(__file__).with_suffix(".mjs")
    try:
        run = subprocess.run(["node", program, folder], input=json.dumps(cases), text=True,
                             capture_output=True, timeout=120)
    except FileNotFoundError:
        skip("there is no node")
    if run.returncode != 0:
        fail(f"hosting_files.mjs: {run.stderr}")
    return json.loads(run.stdout)


def sites(folder, cases, swapped=False):
    """Writes the site of each case; returns the text of a configuration."""
    text = '[[listen]]\naddress = ["127.0.0.1:0"]\n'
    for case in cases:
        root = folder / case["site"]
        for name in FILES:
            (root / name[1:]).parent.mkdir(parents=True, exist_ok=True)
            (root / name[1:]).write_text(name)
        for name in ["redirects", "headers"]:
            if case[name]:
                (root / f"_{name}").write_bytes(case[name].encode())
        service = SERVICES[(SERVICES.index(case["service"]) + swapped) % 2]
        text += (f'[[site]]\nname = "{case["site"]}"\nhosts = ["{case["site"]}.test"]\n'
                 f'root = "{root}"\nsite-files = "{service}"\n')
    return text


def notes(text):
    """The lines that ringd reports: the site and the file, and the numbers."""
    found = {}
    for line in text.splitlines():
        match = NOTE.search(line)
        if match is None:
            fail(f"ringd says what no case expects: {line}")
        site, file, number, _ = match.groups()
        found.setdefault((site, file[1:]), set()).add(int(number))
    return found


def check(binary, folder, config):
    """What `ringd check` reports."""
    file = folder / "ringd.toml"
    file.write_text(config)
    run = subprocess.run([binary, "check", file], capture_output=True, text=True, timeout=60)
    if run.returncode != (1 if run.stderr else 0):
        fail(f"ringd check ends with {run.returncode}, and says: {run.stderr or 'nothing'}")
    return notes(run.stderr)


def answer(connection, case, ask):
    """ringd's answer to a request, in the form of hosting_files.mjs."""
    method, target = ask.split(" ") if " " in ask else ("GET", ask)
    host = f"{case['site']}.test"
    connection.request(method, target, headers={"Host": host, "Accept": "text/html"})
    response = connection.getresponse()
    body = response.read().decode(errors="replace")
    text = str(response.status)
    if response.getheader("Location") is not None:
        location = urljoin(f"http://{host}{target}", response.getheader("Location"))
        text += " " + location.replace(f"http://{host}/", "http://site.test/")
    elif body in FILES:
        text += f" {body}"
    names = re.findall(r"^[ \t]+(?:![ \t]*)?([\w-]+)", case["headers"], re.MULTILINE)
    for name in sorted({name.lower() for name in names}):
        values = response.headers.get_all(name) or []
        if name != "set-cookie":
            values = [", ".join(values)] if values else []
        text += "".join(f" | {name}: {value}" for value in values)
    return text


def served(binary, folder, cases, config):
    """What ringd makes of each case, in the form of hosting_files.mjs."""
    reported = check(binary, folder, config)
    errors = folder / "stderr"
    with errors.open("w") as stderr:
        server = subprocess.Popen([binary, "-c", folder / "ringd.toml", "-w", "1"],
                                  stdout=subprocess.PIPE, stderr=stderr, text=True)
    try:
        line = server.stdout.readline()
        port = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        if port is None:
            fail(f"ringd does not start: {errors.read_text()}")
        connection = http.client.HTTPConnection("127.0.0.1", int(port[1]), timeout=10)
        answers = [{ask: answer(connection, case, ask) for ask in case["ask"]} for case in cases]
        connection.close()
        if notes(errors.read_text()) != reported:
            fail("ringd check reports other lines than a start")
    finally:
        server.send_signal(signal.SIGTERM)
        code = server.wait(20)
    if code != 0:
        fail(f"ringd ends with {code} after SIGTERM: {errors.read_text()}")
    lines = [{name: sorted(reported.get((case["site"], name), ())) for name in
              ["redirects", "headers"]} for case in cases]
    return [found | {"answers": answers} for found, answers in zip(lines, answers)]


def items(result):
    """The items of a result: lines that are reported, and answers."""
    lines = {f"_{name}:{line}": "reported" for name in ["redirects", "headers"]
             for line in result[name]}
    return lines | result["answers"]


def compare(cases, theirs, ours):
    """The differences that are not intended, and how often each reason applies."""
    wrong, applied = [], Counter()
    for case, their, our in zip(cases, map(items, theirs), map(items, ours)):
        intended = dict(case["intended"])
        for item in their | our:
            they, we = (side.get(item, "not reported") for side in (their, our))
            reason, expected = intended.pop(item, (None, None))
            if they == we and reason is None:
                continue
            place = f"{case['service']}, {case['name']}: {item}"
            if they == we:
                wrong.append(f"{place} is intended to differ ({reason}), but both say: {we}")
            elif we != expected:
                wrong.append(f"{place}\n    the service: {they}\n    ringd:       {we}" +
                             (f"\n    intended:    {expected} ({reason})" if reason else ""))
            else:
                applied[reason] += 1
        wrong += [f"{case['service']}, {case['name']}: there is no {item}" for item in intended]
    return wrong, applied


def cases_of_services():
    """Each case for each service, as hosting_files.mjs reads it."""
    found = []
    for number, case in enumerate(CASES):
        for service in SERVICES:
            found.append({"service": service, "site": f"{service[0]}{number}", "files": FILES,
                          "name": case.name, "redirects": case.redirects,
                          "headers": case.headers, "ask": case.ask,
                          "intended": case.intended(service)})
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary", type=Path)
    parser.add_argument("--prove", action="store_true",
                        help="exchange the services; fail if no difference is found")
    parser.add_argument("--show", action="store_true", help="show every answer")
    options = parser.parse_args()
    cases = cases_of_services()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unpack(folder)
        theirs = parsed(folder, cases)
        config = sites(folder, cases, swapped=options.prove)
        ours = served(options.binary.resolve(), folder, cases, config)
    if options.show:
        for case, their, our in zip(cases, map(items, theirs), map(items, ours)):
            print(f"{case['service']}, {case['name']}")
            for item in their | our:
                print(f"    {item:24} {their.get(item)}   ringd: {our.get(item)}")
    wrong, applied = compare(cases, theirs, ours)
    if options.prove:
        print(f"hosting files: with the services exchanged, {len(wrong)} items are wrong")
        sys.exit(not wrong)
    compared = sum(len(their | our) for their, our in zip(map(items, theirs), map(items, ours)))
    print(f"hosting files: {len(CASES)} cases for both services, {compared} lines and answers: "
          f"{compared - len(wrong) - applied.total()} equal, {applied.total()} intended "
          f"differences, {len(wrong)} wrong")
    for reason, count in sorted(applied.items()):
        print(f"    {count:3} {reason}: {REASONS[reason]}")
    unused = [reason for reason in REASONS if not applied[reason]]
    if unused:
        wrong.append(f"no case has these reasons: {', '.join(unused)}")
    for difference in wrong:
        print(f"hosting files: FAILED: {difference}", file=sys.stderr)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
