"""What the CPU's and CUDA's native code share: headers, and here the data that both are given, laid out with NumPy."""
