"""Knows clouds, machines and Ray; knows nothing of jobs."""
