"""Videos and pictures as frames, and back. Nothing here imports JAX."""
