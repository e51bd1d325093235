"""Faces on disk with a record: extraction, review, repair. Nothing here imports JAX."""
