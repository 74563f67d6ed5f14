"""One picture against another: with a switch the other way, another renderer, another scene, or the photo."""
