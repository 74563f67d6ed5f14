"""From a flight to a video: recording, rendering, encoding."""
