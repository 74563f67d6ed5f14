"""How the window looks and what it remembers of that: fonts of the system, folded sections, the choice of theme."""
