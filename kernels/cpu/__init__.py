"""The CPU backend in C++; its Python face, and the code paths that a machine has."""
