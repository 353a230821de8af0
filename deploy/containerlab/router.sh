#!/bin/sh
# A router: BIRD if there is a configuration for it, else FRR. It ends if its
# configuration is refused.
set -e
if [ -e /etc/bird.conf ]; then
	exec bird -f -c /etc/bird.conf
fi
# Next hops of IPv6 routes change in one step; without the flag, zebra deletes first.
/usr/lib/frr/zebra -d -A 127.0.0.1 --v6-rr-semantics
for daemon in staticd bfdd bgpd; do
	/usr/lib/frr/$daemon -d -A 127.0.0.1
done
vtysh -b
exec sleep infinity
