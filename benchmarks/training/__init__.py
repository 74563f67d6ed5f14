"""Training measured: its operations, and the ablations of the paper."""
