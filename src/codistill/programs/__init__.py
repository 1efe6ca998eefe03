"""Exported networks: files that hold a graph with its weights, and what runs them. Written by `codistill.deploy`."""
