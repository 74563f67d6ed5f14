"""What OpenGL draws: the newest frame, reprojected, and the overlays over it."""
