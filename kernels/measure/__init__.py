"""How good a picture is, how long it takes, and on what machine."""
