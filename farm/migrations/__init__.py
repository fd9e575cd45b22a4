"""Alembic's scripts; the first one made the first tables."""
