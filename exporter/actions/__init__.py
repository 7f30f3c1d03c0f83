"""Doing: what changes a node, and the policies that decide on it."""
