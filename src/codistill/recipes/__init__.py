"""Recipes: named, documented configurations, and the code that builds a student, teachers and data from one."""
