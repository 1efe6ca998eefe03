"""Speed of the step, the loader, an encoder, the world and matching, beside what this machine can do at most.

`timing` measures calls in turns, `machine` names where, `products` is the floor; every other module is one benchmark:
what is measured in, numbers out.
"""
