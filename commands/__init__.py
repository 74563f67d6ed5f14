"""The command line programs, one file each; the other packages do not import them."""
