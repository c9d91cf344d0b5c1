"""Tests of the greeter; a package, so that they can share their helpers."""
