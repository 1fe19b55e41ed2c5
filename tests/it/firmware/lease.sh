#!/bin/busybox sh
# What udhcpc calls: the board's address and its way out.
[ "$1" = bound ] || exit 0
ip address add "$ip/$mask" dev "$interface"
ip route add default via "$router"
