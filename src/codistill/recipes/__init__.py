"""Recipes: named, documented configurations, and how a configuration becomes a student, teachers and data."""
