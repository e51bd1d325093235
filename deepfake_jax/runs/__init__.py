"""What a run leaves behind: folder, checkpoints, metrics; and the swapper made of it."""
