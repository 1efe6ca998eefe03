"""The embedded world: rendered scenes of three domains with all the ground truth, the same on every machine."""
