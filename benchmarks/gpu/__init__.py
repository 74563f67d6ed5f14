"""All that only a GPU can tell, and what compiles its kernels without one."""
