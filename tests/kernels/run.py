#!/usr/bin/env python3
"""Runs ringd's tests on other kernels, in an emulated machine.

    tests/kernels/run.py                                       # everything, on 6.1 and 6.12
    tests/kernels/run.py --kernel 6.1 --only doctor smoke driver/uring
    tests/kernels/run.py --kernel ./linux-image-5.10.0-35-cloud-amd64_5.10.237-1_amd64.deb

The README.md beside this file explains how it works. The exit code is 0 if everything passed, 1 if
something failed, 2 if this machine lacks a tool or a kernel, which is then named, and 3 if nothing
failed but the time was over before the end.
"""

import argparse
import collections
import glob
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGE = os.path.dirname(os.path.dirname(HERE))
FAILED, MISSING, UNFINISHED = 1, 2, 3
DRIVERS = ["uring", "epoll", "epoll-lt", "sigio", "poll", "select", "spin", "threads"]
# A proactor, a reactor and blocking calls; the other reactors differ from epoll in the poller only.
DEFAULT = ["doctor", "smoke", "driver", "http/uring", "http/epoll", "http/threads"]
TOOLS = {"qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static",
         "mke2fs": "e2fsprogs", "dpkg-deb": "dpkg", "apt-get": "apt", "strip": "binutils"}

# `limit` is in seconds of the emulated machine; a step without tests is one test.
Step = collections.namedtuple("Step", "name limit command tests")


class Missing(Exception):
    """What the script needs and this machine lacks."""


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options).stdout


# What is run.


def build():
    """Builds the program and the tests; returns their paths by name."""
    output = run("cargo", "test", "--locked", "--no-run", "--message-format=json",
                 "--test=driver", "--test=http", cwd=PACKAGE)
    messages = [json.loads(line) for line in output.splitlines()]
    return {message["target"]["name"]: message["executable"]
            for message in messages if message.get("executable")}


def make_steps(paths):
    """All steps that there are."""
    steps = [Step("doctor", 60, "ringd doctor", [])]
    steps += [Step(f"smoke/{driver}", 60, f"/smoke.sh {driver}", []) for driver in DRIVERS]
    for binary, limit in ("driver", 600), ("http", 1200):
        groups = collections.defaultdict(list)
        for line in run(paths[binary], "--list", cwd=PACKAGE).splitlines():
            name, is_test, _ = line.partition(": test")
            # A driver's tests are in a module with its name; the others are of no driver.
            modules = name.replace("_", "-").split("::")
            owner = next((driver for driver in DRIVERS if driver in modules), "others")
            if is_test:
                groups[owner].append(name)
        for owner, tests in groups.items():
            command = f"/tests/{binary} --exact --show-output {' '.join(tests)}"
            steps.append(Step(f"{binary}/{owner}", limit, command, tests))
    return steps


def choose(steps, words):
    """The steps with these names, and those below them."""
    for word in words:
        if not any(f"{step.name}/".startswith(f"{word}/") for step in steps):
            raise Missing(f"no step {word}; there are {', '.join(step.name for step in steps)}")
    return [step for word in words for step in steps if f"{step.name}/".startswith(f"{word}/")]


# Kernels.


def find_kernel(name, folder):
    """The kernel image of a version such as 6.1, or of a package's file."""
    package = name if name.endswith(".deb") else download(name, folder)
    unpacked = os.path.join(folder, os.path.basename(package).removesuffix(".deb"))
    if not os.path.isdir(unpacked):
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            run("dpkg-deb", "-x", package, f"{fresh}/files")
            os.rename(f"{fresh}/files", unpacked)
    images = glob.glob(f"{unpacked}/boot/vmlinuz-*")
    if not images:
        raise Missing(f"{package} has no kernel image; take the package linux-image-…-cloud-amd64")
    return images[0]


def download(version, folder):
    """The newest package of Debian's cloud kernel of a version."""
    names = run("apt-cache", "pkgnames", f"linux-image-{version}.").split()
    names = [name for name in names if re.fullmatch(r"[a-z-]+[0-9.]+[^.]*-cloud-amd64", name)]
    names.sort(key=lambda name: [int(number) for number in re.findall(r"\d+", name)])
    # apt also names packages that the servers no longer have.
    for name in names[:-4:-1]:
        if not glob.glob(f"{folder}/{name}_*.deb"):
            # As root, apt would download as a user that may not write to the folder, and warn.
            subprocess.run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", name],
                           cwd=folder, check=False, stderr=subprocess.DEVNULL)
        if found := glob.glob(f"{folder}/{name}_*.deb"):
            return found[0]
    raise Missing(f"apt has no cloud kernel {version}; run apt-get update, or name a .deb file")


# The machine.


def write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())


def libraries(program):
    """The paths of the libraries of a program; a static one has none, which ldd calls an error."""
    listed = subprocess.run(["ldd", program], check=False, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL).stdout
    # A line is `NAME => PATH (ADDRESS)`, or has the path alone for the loader.
    return re.findall(r"(/\S+) \(0x", listed)


def make_disk(path, paths, steps):
    """An ext4 file system with everything that the steps need."""
    with tempfile.TemporaryDirectory() as root:
        for folder in "bin", "dev", "proc", "sys", "tests", "tmp":
            os.mkdir(f"{root}/{folder}")
        for script in "init.sh", "smoke.sh":
            shutil.copy(f"{HERE}/{script}", root)
        busybox = shutil.which("busybox")
        shutil.copy(busybox, f"{root}/bin")
        os.symlink("busybox", f"{root}/bin/sh")
        for name, program in paths.items():
            run("strip", "-o", f"{root}/{'bin' if name == 'ringd' else 'tests'}/{name}", program)
        for library in set().union(*map(libraries, [busybox, *paths.values()])):
            os.makedirs(root + os.path.dirname(library), exist_ok=True)
            shutil.copy(library, root + library)
        # The paths that Cargo compiles into tests: of the program, and of a temporary directory.
        os.makedirs(os.path.dirname(root + paths["ringd"]), exist_ok=True)
        os.symlink("/bin/ringd", root + paths["ringd"])
        os.symlink("/tmp", f"{root}{os.path.dirname(os.path.dirname(paths['ringd']))}/tmp")
        write(f"{root}/etc/passwd", "root:x:0:0::/:/bin/sh\ntester:x:1000:1000::/tmp:/bin/sh\n")
        write(f"{root}/etc/group", "root:x:0:\ntester:x:1000:\n")
        write(f"{root}/site/small.txt", "a small page\n" * 50)
        write(f"{root}/site/large.bin", random.Random(1).randbytes(16 << 20))
        write(f"{root}/steps",
              "".join(f"step {step.name} {step.limit} '{step.command}'\n" for step in steps))
        run("mke2fs", "-q", "-F", "-t", "ext4", "-E", "root_owner=0:0", "-d", root, path, "8G")


def boot(image, disk, console, options):
    """Boots a kernel; yields the lines of its second serial port, and when each came."""
    machine = ["-accel", "kvm", "-cpu", "host", "-smp", "2"]
    if options.accel == "tcg":
        # The clock counts instructions (1 ns each) and skips the time when the processor is idle.
        # With it, QEMU 7.2 does not boot a second processor.
        machine = ["-accel", "tcg", "-cpu", "max", "-smp", "1", "-rtc", "clock=vm",
                   "-icount", "shift=0,sleep=off"]
    # What the kernel does not know, it puts into the environment of the first process.
    line = "console=ttyS0 root=/dev/nvme0n1 rw init=/init.sh panic=-1 RUST_TEST_THREADS=4"
    process = subprocess.Popen(
        ["qemu-system-x86_64", *machine, "-m", "2G", "-nodefaults", "-display", "none",
         "-no-reboot", "-kernel", image, "-append", line,
         "-drive", f"file={disk},if=none,id=disk,format=raw,cache=unsafe",
         "-device", "nvme,drive=disk,serial=1",
         "-serial", f"file:{console}", "-serial", "stdio"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    timer = threading.Timer(60 * options.minutes, process.kill)
    timer.start()
    try:
        for output in process.stdout:
            yield time.monotonic(), output.decode(errors="replace").rstrip()
    finally:
        timer.cancel()
        process.kill()
        process.wait()


# Results.


def judge(step, lines, code):
    """Names of the tests of a step that passed and that failed, and why others were skipped."""
    if not step.tests:
        return ([step.name], [], {}) if code == 0 else ([], [step.name], {})
    text = "\n".join(lines)
    ends = dict(re.findall(r"^test (\S+) .*\.\.\. (\w+)$", text, re.MULTILINE))
    outputs = re.findall(r"^---- (\S+) stdout ----\n(.*?)^$", text, re.MULTILINE | re.DOTALL)
    skipped = {name: reason[1] for name, output in outputs
               if ends.get(name) == "ok" and (reason := re.search(r"skipped: (.*)", output))}
    # Also a test that has not ended, because the step ran out of time or crashed.
    failed = [name for name in step.tests if ends.get(name) != "ok"]
    passed = [name for name in step.tests if name not in failed and name not in skipped]
    return passed, failed, skipped


def report(release, step, lines, code, seconds):
    """Prints a row of the table, and the reasons below it; returns whether nothing failed."""
    passed, failed, skipped = judge(step, lines, code)
    print(f"{release:26} {step.name:15} {len(passed):6} {len(failed):6} {len(skipped):7} "
          f"{seconds:7.0f}")
    for reason, count in collections.Counter(skipped.values()).items():
        print(f"    skipped: {reason} ({count})")
    for name in failed:
        print(f"    failed: {name}")
    # A step without tests shows all that it printed.
    shown = lines if failed and not step.tests else []
    print("".join(f"    {line}\n" for line in shown), end="", flush=True)
    return not failed


def run_kernel(image, steps, paths, folder, options):
    """Runs the steps on a kernel; returns the exit code: 0, FAILED or UNFINISHED."""
    os.makedirs(folder, exist_ok=True)
    disk, console = f"{folder}/disk", f"{folder}/console.log"
    release, lines, begun, good = os.path.basename(image).removeprefix("vmlinuz-"), [], 0, True
    waiting = {step.name: step for step in steps}
    try:
        make_disk(disk, paths, steps)
        with open(f"{folder}/results.log", "w", encoding="utf-8") as log:
            for now, line in boot(image, disk, console, options):
                print(line, file=log, flush=True)
                match line.split():
                    case ["@@", "begin", _]:
                        lines, begun = [], now
                    case ["@@", "end", name, code]:
                        good &= report(release, waiting.pop(name), lines, int(code), now - begun)
                    case _:
                        lines.append(line)
    finally:
        if os.path.exists(disk):
            os.remove(disk)
    for name in waiting:
        print(f"{release:26} {name:15} did not end: the time of --minutes was over, or the machine "
              "stopped")
    if waiting or not good:
        print(f"    see results.log and console.log in {folder}", flush=True)
    return FAILED if not good else UNFINISHED if waiting else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--kernel", nargs="+", default=["6.1", "6.12"], help="versions, or files of packages")
    add("--only", nargs="+", default=DEFAULT, metavar="STEP",
        help="what to run; also http/others, http/poll, driver/uring and so on")
    add("--accel", choices=["tcg", "kvm"], default="tcg", help="kvm takes the machine's own clock")
    add("--minutes", type=float, default=60, help="the longest that a kernel may run")
    add("--folder", default=f"{PACKAGE}/target/kernels", help="for packages and logs")
    options = parser.parse_args()
    try:
        if missing := [tool for tool in TOOLS if not shutil.which(tool)]:
            raise Missing(f"no {', '.join(missing)}; run "
                          f"apt-get install {' '.join(TOOLS[tool] for tool in missing)}")
        os.makedirs(options.folder, exist_ok=True)
        images = [find_kernel(name, options.folder) for name in options.kernel]
        paths = build()
        steps = choose(make_steps(paths), options.only)
    except Missing as error:
        print(f"tests/kernels/run.py: {error}", file=sys.stderr)
        sys.exit(MISSING)
    print(f"{'kernel':26} {'what':15} passed failed skipped seconds", flush=True)
    codes = [run_kernel(image, steps, paths, f"{options.folder}/{os.path.basename(image)}", options)
             for image in images]
    sys.exit(FAILED if FAILED in codes else max(codes))


if __name__ == "__main__":
    main()
