"""The camera in the user's hand: orbit and fly, mouse and keys."""
