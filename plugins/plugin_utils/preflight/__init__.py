"""What can be wrong with hosts, cluster and customers, in words that help.

A fault is a string, ``where: what is wrong; what to write instead``. Checks of customers return a list of them. Checks
of hosts take what `nodes.nodes` knows of the hosts, and return pairs of a host, or none, and a fault of it, of which
`nodes.told` makes lines. Nothing returned means nothing wrong. No check raises on bad input, none changes anything, and
no fault holds a secret.
"""
