"""Run one encoder and several heads on images, with one pass of the encoder per image.

perception = Perception("dune.pth", {"depth": "heads/depth", "classes": "heads/segmentation"})
scene = perception("photo.jpg")
scene.depth[0]                      # metres, computed on first access
"""
