"""Faces to a run: augmentation, batches, the step, devices, the loop."""
