"""Encoders: one protocol, and the kinds of network that implement it."""
