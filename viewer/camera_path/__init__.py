"""Camera paths made in the window: key frames, a timeline, undo, autosave, and the path drawn in the scene."""
