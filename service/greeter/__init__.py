"""A greeter: one process answers one customer with one fixed greeting."""
