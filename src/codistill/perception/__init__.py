"""One pass of an encoder, every head's answer.

perception = Perception("dune.pth", {"depth": "heads/depth", "classes": "heads/segmentation"})
scene = perception("photo.jpg")
scene.depth[0]                      # metres, computed when it is asked for
"""
