"""What a scene is: its box, its grids and its networks, checked once when it is made."""
