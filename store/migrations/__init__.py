"""Alembic migrations of the store, applied through ``store.schema``."""
