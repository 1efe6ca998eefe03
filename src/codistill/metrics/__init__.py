"""Metrics: pure functions, one file per task."""
