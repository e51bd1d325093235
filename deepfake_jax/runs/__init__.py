"""What a run leaves behind, folder, checkpoints, metrics; the swapper made of it."""
