"""What ``deepfake-jax benchmark`` measures; docs/measuring.md says how to read it.

Every result names its device, versions, commit and command. Compilation and warm-up
are never part of a time; the clock stops after `jax.block_until_ready`. An image is one
face of one side: a step at batch size 64 trains on 128.
"""
