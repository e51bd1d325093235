"""Faces found, followed and named in footage. Nothing here imports JAX."""
