"""Knows jobs, the database and people."""

__version__ = "0.1.0"
