#!/bin/sh
# Makes the system users and groups that opampd needs when root starts it, and says so.
set -eu
if [ "$(id -u)" -ne 0 ]; then
	echo "Users are made by root: sudo make users (an ordinary user needs none)" >&2
	exit 1
fi
for group in opampd opampd-admin; do
	getent group "$group" >/dev/null && continue
	echo "Making the group $group"
	groupadd --system "$group"
done
for user in "$@"; do
	getent passwd "$user" >/dev/null && continue
	echo "Making the user $user"
	useradd --system --user-group --no-create-home --home-dir /nonexistent \
		--shell /usr/sbin/nologin "$user"
done
