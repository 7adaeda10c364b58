#!/bin/sh
# A provider for autostop in a few lines of shell, see docs/autostop-providers.md.
#
# [providers.example]
# kind = "plugin"
# command = ["/usr/local/lib/autostop/provider.sh"]
# env = { MACHINES = "/var/lib/machines.d" }
#
# What it starts and stops here are files; put your own commands into these three functions.
set -u
machines=${MACHINES:?is not set}

start() { echo running >"$machines/$1"; }
stop() { echo stopped >"$machines/$1"; }
status() { cat "$machines/$1" 2>/dev/null || echo missing; }

# Requests are compact JSON, one in a line, with "id", "op" and "ids" first and in this order.
while read -r line; do
    id=$(printf %s "$line" | sed -n 's/^{"id":\([0-9]*\),.*/\1/p')
    op=$(printf %s "$line" | sed -n 's/^{"id":[0-9]*,"op":"\([a-z]*\)".*/\1/p')
    ids=$(printf %s "$line" | sed -n 's/^[^[]*"ids":\["\([^]]*\)"\].*/\1/p' | sed 's/","/ /g')
    if [ "$op" = hello ]; then
        echo "{\"id\":$id,\"ok\":true,\"version\":1}"
        continue
    fi
    # Nothing but plain names: they become parts of paths and of JSON.
    case $ids in
    '' | *[!A-Za-z0-9._\ -]* | .* | *' .'*)
        echo "{\"id\":$id,\"error\":{\"kind\":\"gone\",\"message\":\"no such machine\"}}"
        continue
        ;;
    esac
    targets=
    for name in $ids; do
        case $op in
        start | stop) "$op" "$name" >&2 || targets="$targets,\"$name\":{\"error\":{\"kind\":\"denied\"}}" ;;
        status | describe)
            targets="$targets,\"$name\":{\"status\":\"$(status "$name")\",\"addresses\":[\"$name.example.com\"]}"
            ;;
        esac
    done
    echo "{\"id\":$id,\"ok\":true,\"targets\":{${targets#,}}}"
done
