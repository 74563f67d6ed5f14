"""The CUDA backend: kernels compiled where they run, and what launches them."""
