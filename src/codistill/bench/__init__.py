"""Speed of the step, the loader, an encoder, the world and matching, beside this machine's limit.

`timing` measures calls in turn, `machine` names the machine, `products` is the floor; every other module is one
benchmark.
"""
