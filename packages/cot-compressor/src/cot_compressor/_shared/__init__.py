"""Copied from packages/_shared by tools/sync_shared.py; edit it there."""
