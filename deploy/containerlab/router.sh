#!/bin/sh
# A router: BIRD if there is a configuration for it, else FRR. It ends if its
# configuration is refused.
set -e
if [ -e /etc/bird.conf ]; then
	exec bird -f -c /etc/bird.conf
fi
for daemon in zebra staticd bfdd bgpd; do
	/usr/lib/frr/$daemon -d -A 127.0.0.1
done
vtysh -b
exec sleep infinity
