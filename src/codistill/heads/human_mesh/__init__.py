"""People: every person of an image as a posed, shaped body in metres in the camera's frame, from any encoder's tokens.

`network` holds the head, `model` an encoder with it, `cells` detection, `camera` rays and depth, `rotations` the 6-D
form, `place` bodies before the camera, `targets` and `losses` how it is trained, `mirror` its augmentation, `load`
the released files.
Source: Multi-HMR (arXiv 2402.14654), DUNE (arXiv 2503.14405).
"""
