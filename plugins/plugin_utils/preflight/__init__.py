"""What can be wrong with hosts, cluster and customers, in words that help.

A fault is a text, ``where: what is wrong; what to write instead``. Checks of hosts give pairs of a host and its fault,
of which `nodes.messages` makes lines. No check raises on bad input or changes anything, and no fault holds a secret.
"""
