"""The embedded world: rendered scenes of three domains with complete ground truth, the same on every machine."""
