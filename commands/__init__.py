"""The command line programs, one file each. Nobody imports them."""
