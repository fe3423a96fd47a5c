#!/bin/sh
# worker: mines with nothing but a shell and curl. The store speaks lines, so curl can do that too.
set -u

rng=${RNG_URL:-http://rng}
hasher=${HASHER_URL:-http://hasher}
store=${STORE:-store:6379}
bytes=$(mktemp) || exit 1
trap 'rm -f "$bytes"' EXIT
trap 'exit 0' TERM INT

# Sends inline commands on stdin, and QUIT, so that the store closes the connection.
tell_store() {
    { cat; echo QUIT; } | curl --silent --max-time 10 "telnet://$store" >/dev/null
}

while :; do
    hashes=0 coins=0 latest=
    while [ "$hashes" -lt 5 ]; do
        curl --silent --fail --output "$bytes" "$rng/32" || break
        hash=$(curl --silent --fail --data-binary "@$bytes" "$hasher/") || break
        hashes=$((hashes + 1))
        case $hash in 0*) coins=$((coins + 1)) latest=$hash ;; esac
    done
    [ "$hashes" -gt 0 ] || { echo "worker: rng or hasher does not answer" >&2; sleep 1; continue; }
    {
        echo "INCRBY hashes $hashes"
        if [ "$coins" -gt 0 ]; then
            echo "INCRBY coins $coins"
            echo "HSET latest hash $latest worker $(hostname)"
        fi
    } | tell_store || echo "worker: the store does not answer" >&2
    echo "worker: $hashes hashes and $coins coins"
done
