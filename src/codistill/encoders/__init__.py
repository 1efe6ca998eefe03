"""Encoders: one protocol, and the kinds of network behind it."""
