"""A case of hosting_files.py, the files of its site, and the reasons why ringd may differ."""

from dataclasses import dataclass, field

# The files of each site; each contains its own path.
FILES = ["/index.html", "/page.txt", "/closed.txt", "/new/x.txt", "/dir/index.html", "/app.html"]

# Why a difference is intended; docs/rules.md says at length what ringd does.
REASONS = {
    # Lines that ringd leaves out and reports
    "asterisk": "an asterisk is the whole last segment",
    "names": "`:name` is a whole segment and occurs once; a colon that begins no name is %3A",
    "paths": "a path begins with a slash, and has no empty segment, dot segment, query, fragment",
    "hidden": "names that begin with a dot are not served, and `/.netlify` is not special",
    "lines": "a line is a path, a destination and a status of the table; nothing else is ignored",
    "addresses": "a destination is a path with one slash, or an address with http or https and a "
                 "host that is written out; that of a rewrite has no fragment",
    "conditions": "there are no conditions",
    "proxy": "ringd is no proxy",
    "hosts": "a site has a host of its own; the note about a path is also one about its fields",
    "fields": "some fields are set by ringd itself, and a line that is no field is reported",
    "values": "a value is printable ASCII, and nothing is inserted into it",
    "loops": "a rule that leads to itself is a mistake",
    "bounds": "ringd has bounds of its own",
    # Lines that ringd does not report, because they do no harm here
    "duplicates": "the first rule for a path applies with both; the others are no mistake",
    "empty": "a path without fields is no mistake",
    "index": "ringd does not remove `.html` and `/index` from paths, so that is no loop",
    "fallback": "`/* /index.html 200` applies after files with both services",
    # How rules apply
    "slash": "a slash at the end makes no difference, and `/a/*` includes `/a`",
    "case": "case matters",
    "decoded": "paths are compared after they were decoded",
    "encoded": "what is inserted is encoded, so it cannot add a host or a query; no path has an "
               "encoded slash",
    "methods": "GET and HEAD are redirected",
    "navigations": "only navigations get the one page for many paths",
    # Fields
    "cookies": "values of Set-Cookie are not joined",
    "errors": "Cache-Control applies to files, not to errors and redirects",
    # Where ringd has one meaning for both services, in place of that of each
    "removal": "a line that Netlify ignores is reported",
    "joined": "all blocks apply, and values of the same field are joined, spaces and all",
    "rewritten": "after a rewrite, the rewritten path counts",
}


@dataclass
class Case:
    """Both files of a site, and requests: a target, or a method and a target.

    For each service: by reason, the items in which ringd differs as intended, as `ITEM => ANSWER`
    with the answer of ringd. An item is a request, or a line such as `_redirects:1`, which is
    `reported` or `not reported`. Without an answer, a request gets 404, and a line is reported.
    """
    name: str
    redirects: str = ""
    headers: str = ""
    ask: list = field(default_factory=list)
    netlify: dict = field(default_factory=dict)
    cloudflare: dict = field(default_factory=dict)

    def intended(self, service):
        """Each item in which ringd differs, with the reason and the answer of ringd."""
        found = {}
        for reason, items in getattr(self, service).items():
            for text in items:
                item, _, answer = text.partition(" => ")
                found[item] = (reason, answer or ("reported" if item[0] == "_" else "404"))
        return found
