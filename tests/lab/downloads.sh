#!/usr/bin/env bash
# Downloads URL from ADDRESS again and again; appends the time of each whole page to DIR/pages and each failure to DIR/failures.
url=$1 address=$2 dir=$3
while :; do
    if said=$(curl --silent --show-error --fail --max-time 10 --interface "$address" --output /dev/null \
        --write-out '%{size_download}' "$url" 2>&1) && [ "$said" = 65536 ]; then
        date +%s.%N >>"$dir/pages"
    else
        printf '%s: %s\n' "$(date +%s.%N)" "$said" >>"$dir/failures"
    fi
    # A page each 50 ms or so; read on a pipe that nobody writes to needs no process.
    read -r -t 0.05 <>"$dir/idle" || true
done
