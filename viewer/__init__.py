"""The desktop program and its headless commands: window, input, camera modes, panels, overlays, recorder."""
