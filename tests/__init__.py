"""Tests of the playbooks and roles that need no host."""
