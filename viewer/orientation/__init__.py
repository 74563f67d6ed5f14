"""Where up is, where one is, and places to go to: axes, ground, view cube, cameras of photos, bookmarks."""
