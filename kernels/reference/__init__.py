"""The reference backend: plain NumPy, the truth that every other backend is compared with."""
