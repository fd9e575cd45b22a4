"""Rebuilds of source packages: a tree of sources becomes wheels, in dependency order, unchanged ones skipped."""
