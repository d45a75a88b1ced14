#!/bin/sh
# usage: ns.sh COMMAND...
# Runs COMMAND in a network namespace of its own: loopback, and one interface with an address and a
# default route that leads nowhere. Firefox gathers candidates only where it sees such a route and
# never on loopback; nothing that a test does can leave the namespace. Without root it maps the user.
# No automatic IPv6 address: it would come into force one to two seconds later (duplicate address detection), and a Chromium that
# loads a page just then gives up with ERR_NETWORK_CHANGED.
set -eu
[ "$(id -u)" = 0 ] && flags=-n || flags=-rn
exec unshare "$flags" sh -c '
  ip link set lo up
  ip link add v0 type veth peer name v1
  ip link set v0 addrgenmode none
  ip link set v1 addrgenmode none
  ip addr add 10.99.0.1/24 dev v0
  ip link set v0 up
  ip link set v1 up
  ip route add default via 10.99.0.2 dev v0
  exec "$@"' sh "$@"
