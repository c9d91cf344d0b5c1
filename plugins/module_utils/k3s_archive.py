"""What a backup's archive holds. The module k3s_backup writes and unpacks one, the filter k3s_backup_info reads it."""

from __future__ import annotations

# Of the description; a reader refuses any other.
FORMAT = 1
# The members: the description, the token, and one of the states with what it is a state of.
ABOUT = "about.json"
TOKEN = "token"
STATES = {"state.db": "sqlite", "snapshot": "etcd", "snapshot.zip": "etcd"}
