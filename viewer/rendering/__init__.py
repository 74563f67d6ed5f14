"""From a wish for a picture to a finished frame: what to render, when, and in which thread."""
