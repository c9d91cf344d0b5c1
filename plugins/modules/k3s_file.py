#!/usr/bin/python
"""Ansible module: stands for the action plugin of the same name, and is described in k3s_file.yml."""
