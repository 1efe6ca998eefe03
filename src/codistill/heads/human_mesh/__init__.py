"""Human-mesh head: every person in an image as a posed, shaped body in metres in the camera frame, from encoder tokens.

`network` the head, with its parts `attention`, `tables` and `window` · `model` an encoder with the head · `cells`
detection · `camera` rays and depth · `prediction` decoded outputs · `place` bodies in the camera frame · `targets` and
`losses` training · `mirror` augmentation · `frozen` fast inference · `load`, `names` released files.

Source: Multi-HMR (arXiv 2402.14654), DUNE (arXiv 2503.14405).
"""
