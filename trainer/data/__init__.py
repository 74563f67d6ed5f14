"""From photos to batches of rays and their samples."""
