"""Shared parts of dense tasks (one value per pixel): stored features, cached and published fits, sliding windows."""
