"""What differs between releases and between servers: scripts with the number of a release in their
names, and times of files. And what the logs of the servers have to say of the clients.

A page names the scripts of its own release, and the browser may ask a server of another release for
them. A server of the release after it can have them from its `fallback-root`, as files of the release
before. A server of the release before it can only have them if they were put there in advance.
"""

import os
import shutil
import socket

from judge import HOST, PAGE, Judge, replace

COPIES = ["first", "previous", "none"]
LOG_FORMAT = "{client} {path} {status}"


def asset(release):
    """The path of the script of a release."""
    return f"/assets/app-{release}.js"


def script(release):
    return f"// release {release}\n".encode() * 200


def put(folder, release):
    """Writes the script of a release into a root."""
    os.makedirs(f"{folder}/assets", exist_ok=True)
    replace(folder + asset(release), script(release))


def fill(folder, release, number):
    """Makes the root of a release for one server. The times of the page are those of a copy."""
    put(folder, release)
    shutil.copyfile(folder + PAGE, folder + PAGE + ".new")
    os.utime(folder + PAGE + ".new", (1_700_000_000 + number,) * 2)
    os.replace(folder + PAGE + ".new", folder + PAGE)


class ReleaseJudge(Judge):
    """Knows the scripts, too: those of any release may come from a server of any other."""

    def __call__(self, request, status, generation, body, floor):
        if not request.path.startswith("/assets/"):
            return super().__call__(request, status, generation, body, floor)
        if status != 200:
            return "non-200", f"{request.path} from a server of release {generation}: {status}"
        release = int(request.path.rpartition("-")[2].removesuffix(".js"))
        return None if body == script(release) else ("mixed", f"{request.path}: {body[:60]!r}")


def exchange(address, header, fields=""):
    """The head of an answer for the page, in small letters."""
    with socket.create_connection(address, 5) as client:
        request = f"GET {PAGE} HTTP/1.0\r\nHost: {HOST}\r\n{fields}\r\n"
        client.sendall((header + request).encode())
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    return answer.partition(b"\r\n\r\n")[0].decode().lower()


def compare_tags(addresses, header):
    """Asks each server for the page with the tag of the first one. Returns the statuses."""
    lines = exchange(addresses[0], header).splitlines()
    tag = next(line.partition(": ")[2] for line in lines if line.startswith("etag:"))
    # Small letters change no tag: its digits are hexadecimal.
    answers = [exchange(address, header, f"If-None-Match: {tag}\r\n") for address in addresses]
    return tag, [int(answer.split()[1]) for answer in answers]


def clients_in(path):
    """How many lines of a log are of each client, without those for checks of health."""
    found = {}
    with open(path) as log:
        for line in log:
            client, target, _ = line.split()
            if target.startswith(("/small/", "/large/", "/assets/")):
                found[client] = found.get(client, 0) + 1
    return found
