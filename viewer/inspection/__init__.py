"""Looking closely at pictures: scales of false colours, comparison, what a picture cost."""
