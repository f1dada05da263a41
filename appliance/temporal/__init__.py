"""Plumbing for Temporal that knows no feature."""
