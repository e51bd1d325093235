"""One picture and what is done to it, in NumPy and OpenCV: maps, aligning, masks,
colors, blending. Nothing here imports JAX or PyAV."""
