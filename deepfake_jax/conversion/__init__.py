"""Footage in, swapped footage out."""
