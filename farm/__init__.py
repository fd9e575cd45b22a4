"""Knows jobs, the database and people."""

__version__ = "0.1.0"
API = "1"  # what a program and a farm elsewhere must have in common: the header Farm-Api of every answer
