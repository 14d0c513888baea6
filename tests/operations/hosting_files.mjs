// What the services make of `_redirects` and `_headers`, by the code that they publish.
//
//     node hosting_files.mjs FOLDER <cases.json >answers.json
//
// FOLDER is for temporary files, and has the packages that hosting_files.py names in node_modules.
// A case has the service, both texts, the files of the site, and what is asked: a target, or a
// method and a target.
//
// The output has for each case the numbers of the lines that the parser reports, 0 for a line that
// it does not name. And it has an answer for each request: `STATUS ADDRESS`, `STATUS FILE` or
// `STATUS`, and then the fields that `_headers` names.

import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const scratch = path.resolve(process.argv[2]);
const packages = path.join(scratch, "node_modules");
const load = (name) => import(pathToFileURL(path.join(packages, name)));

const request = (ask) => {
    const [method, target] = ask.includes(" ") ? ask.split(" ") : ["GET", ask];
    return new Request(`http://site.test${target}`, {
        method, redirect: "manual", headers: { accept: "text/html" },
    });
};

// The file that a path leads to; a path of a directory has a slash.
const fileAt = (files, pathname) => {
    const name = decodeURIComponent(pathname.endsWith("/") ? `${pathname}index.html` : pathname);
    return files.includes(name) ? name : null;
};

// The fields that `_headers` names, in the order of their names.
const shown = (text, fields) => {
    const names = text.split("\n").map((line) => /^\s+(?:!\s*)?([\w-]+)/.exec(line)?.[1]);
    const wanted = [...new Set(names.filter(Boolean).map((name) => name.toLowerCase()))].sort();
    const values = (name) => {
        if (name === "set-cookie") return fields.getSetCookie();
        return fields.has(name) ? [fields.get(name)] : [];
    };
    return wanted.flatMap((name) => values(name).map((value) => ` | ${name}: ${value}`)).join("");
};

// Netlify

const { parseAllRedirects } = await load("@netlify/redirect-parser/lib/index.js");
const { parseAllHeaders } = await load("@netlify/headers-parser/lib/index.js");
const redirector = createRequire(import.meta.url)(path.join(packages, "netlify-redirector"));

const netlifyRedirects = (text) => {
    const file = path.join(scratch, "_redirects");
    fs.writeFileSync(file, text);
    return parseAllRedirects({ redirectsFiles: [file] });
};

// A line means the same whatever stands before it, and an error does not always have its number.
const netlifyRedirectErrors = async (text) => {
    const lines = [];
    for (const [at, line] of text.split("\n").entries()) {
        if ((await netlifyRedirects(line)).errors.length > 0) lines.push(at + 1);
    }
    return lines;
};

const netlifyHeaderErrors = (text, errors) => errors.map(({ message }) => {
    const number = /^Could not parse header line (\d+)/.exec(message)?.[1];
    const name = /^Path should come before header "(.*)"/.exec(message)?.[1];
    const at = text.split("\n").findIndex((line) => name && line.includes(name));
    return Number(number ?? at + 1);
});

const netlifyAnswer = (matcher, files, ask) => {
    const url = new URL(request(ask).url);
    const rule = matcher?.match({
        scheme: "http", host: url.hostname, path: decodeURIComponent(url.pathname),
        query: url.search.slice(1), headers: {}, cookieValues: {},
        getHeader: () => "", getCookie: () => "",
    });
    const file = fileAt(files, url.pathname);
    if (!rule || (file && !rule.force)) return file ? `200 ${file}` : "404";
    const target = new URL(rule.to, url);
    target.search ||= url.search;
    if (rule.status >= 300 && rule.status < 400) return `${rule.status} ${target.href}`;
    if (target.origin !== url.origin) return `${rule.status} from ${target.href}`;
    const rewritten = fileAt(files, target.pathname);
    return rewritten ? `${rule.status} ${rewritten}` : "404";
};

// The fields of all blocks that match. The local server of Netlify takes the last value of a name.
const netlifyFields = (headers, ask) => {
    const { pathname } = new URL(request(ask).url);
    const blocks = headers.filter(({ forRegExp }) => forRegExp.test(pathname));
    const fields = new Headers();
    for (const [name, value] of blocks.flatMap(({ values }) => Object.entries(values))) {
        // A name that is none is not sent.
        if (/^[\w-]+$/.test(name)) fields.set(name, value);
    }
    return fields;
};

const netlify = async (one) => {
    const { redirects } = await netlifyRedirects(one.redirects);
    const file = path.join(scratch, "_headers");
    fs.writeFileSync(file, one.headers);
    const { headers, errors } = await parseAllHeaders({ headersFiles: [file], minimal: false });
    const rules = redirects.map(({ from, query, ...rest }) => (
        { ...rest, origin: from, params: query }
    ));
    const matcher = rules.length > 0
        ? await redirector.parseJSON(JSON.stringify(rules), {}) : null;
    const answers = {};
    for (const ask of one.ask) {
        const fields = netlifyFields(headers, ask);
        answers[ask] = netlifyAnswer(matcher, one.files, ask) + shown(one.headers, fields);
    }
    return {
        redirects: await netlifyRedirectErrors(one.redirects),
        headers: netlifyHeaderErrors(one.headers, errors),
        answers,
    };
};

// Cloudflare

// Miniflare, the local server of Cloudflare, contains the parsers, but does not export them. Its
// bundler has marked with comments which file a part is from.
const cloudflareParsers = () => {
    const bundle = fs.readFileSync(path.join(packages, "miniflare/dist/src/index.js"), "utf8");
    const part = (file) => {
        const mark = `\n// ../workers-shared/utils/configuration/${file}.ts\n`;
        const at = bundle.indexOf(mark);
        if (at < 0) throw new Error(`miniflare has no ${file}; adapt hosting_files.mjs`);
        return bundle.slice(at + mark.length, bundle.indexOf("\n// ", at + mark.length));
    };
    const parts = ["constants", "validateURL", "parseHeaders", "parseRedirects"].map(part);
    return new Function(`${parts.join("\n")}\nreturn { parseHeaders, parseRedirects };`)();
};

// The packages contain ECMAScript modules with the name of the older format.
const loadModule = (name) => {
    const copy = path.join(scratch, `${path.basename(name, ".js")}.mjs`);
    fs.copyFileSync(path.join(packages, name), copy);
    return import(pathToFileURL(copy));
};

const { parseHeaders, parseRedirects } = cloudflareParsers();
const pages = "@cloudflare/pages-shared/dist";
const { createMetadataObject } =
    await loadModule(`${pages}/metadata-generator/createMetadataObject.js`);
const { generateHandler } = await loadModule(`${pages}/asset-server/handler.js`);

const cloudflareErrors = (text, invalid) => invalid.map(({ message, line, lineNumber }) => {
    const lines = text.split("\n");
    // The number in the error is that of the next block.
    if (message === "No headers specified") {
        return lines.findIndex((other) => other.trim() === line) + 1;
    }
    const rest = /Skipping remaining (\d+) lines/.exec(message)?.[1];
    return lineNumber ?? (Number(/^Ignoring line (\d+)/.exec(message)?.[1]) ||
        (rest ? lines.length - rest + 1 : 0));
});

const cloudflare = async (one) => {
    const [redirects, headers] = [parseRedirects(one.redirects), parseHeaders(one.headers)];
    const metadata = createMetadataObject({ redirects, headers });
    const answers = {};
    for (const ask of one.ask) {
        let file = null;
        const response = await generateHandler({
            request: request(ask), metadata,
            logError: (error) => { throw error; },
            findAssetEntryForPath: async (name) => (one.files.includes(name) ? name : null),
            getAssetKey: (entry) => entry,
            negotiateContent: () => ({ encoding: null }),
            fetchAsset: async (key) => {
                file = key;
                return { body: null, contentType: "text/plain" };
            },
            // Pages has a fallback page without a rule; `--spa` is that of ringd.
            generateNotFoundResponse: async () => new Response(null, { status: 404 }),
        });
        const location = response.headers.get("location");
        const place = location ? new URL(location, request(ask).url).href : file;
        const answer = place ? `${response.status} ${place}` : `${response.status}`;
        answers[ask] = answer + shown(one.headers, response.headers);
    }
    return {
        redirects: cloudflareErrors(one.redirects, redirects.invalid),
        headers: cloudflareErrors(one.headers, headers.invalid),
        answers,
    };
};

const output = [];
for (const one of JSON.parse(fs.readFileSync(0, "utf8"))) {
    output.push(await (one.service === "netlify" ? netlify : cloudflare)(one));
}
process.stdout.write(JSON.stringify(output));
