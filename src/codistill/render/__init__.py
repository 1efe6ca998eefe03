"""Ray-cast renderer: a scene of triangles in, a small picture with its ground truth out."""
