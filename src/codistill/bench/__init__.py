"""Benchmarks of the training step, the loader, encoders, exports, the server, the world and matching.

`timing` measures calls in turns, `machine` describes the machine, `products` gives the floor: the time of a
computation's matrix products alone. Every other module is one benchmark.
"""
