"""Looking closely at pictures: the legend of false colours, the level of detail."""
