"""What the greeter is compared with."""
