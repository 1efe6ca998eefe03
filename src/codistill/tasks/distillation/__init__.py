"""Measure how well a student predicts its teachers on held-out images, next to baselines without a student."""
