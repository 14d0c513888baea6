#!/bin/sh
# smoke.sh DRIVER: starts the server, fetches a small and a large file, and stops it.

fail() {
    echo "$*"
    kill -KILL $!
    exit 1
}

line=/tmp/start-line
# There before the server is, which may take its time to begin.
: >$line
ringd /site --listen 127.0.0.1:0 --driver "$1" >$line &
until grep -q http: $line; do
    kill -0 $! || fail "the server has ended"
    sleep 0.1
done
cat $line
url=$(sed -n 's/.* at \(http:[^ ;]*\).*/\1/p' $line)
for name in small.txt large.bin; do
    # Twice: the first answer may come from the disk, the second one comes from memory.
    for _ in 1 2; do
        wget -q -O /tmp/got "$url$name" || fail "$name was not served"
        cmp /tmp/got "/site/$name" || fail "$name was served wrongly"
    done
done
kill -TERM $!
wait $! || fail "the server failed after SIGTERM"
