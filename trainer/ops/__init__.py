"""Differentiable operations over native and CUDA kernels, each with its plain twin in torch."""
