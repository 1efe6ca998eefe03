"""Relative pose of two views: scores as Map-free has them, baselines, pictures of matches, submissions."""
