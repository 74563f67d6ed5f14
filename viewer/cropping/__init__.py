"""The crop box in the window: its edges, handles that the mouse drags, and its numbers."""
