"""One module for each kind of data set, and what they share: views, lenses, files, the list of faults.

Use them through :mod:`kilonerf.model_io.datasets`, which finds out what kind a folder is.
"""
