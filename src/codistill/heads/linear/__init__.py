"""Linear heads on frozen patch tokens: segmentation, depth, several of either at once, and DINOv2's released files.

`segmentation` and `depth` hold the heads, `losses` how they are trained, `sampling` features at single pixels,
`batched` several heads side by side, `released` the published files.
"""
