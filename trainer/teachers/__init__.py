"""What tiny networks are distilled from: models of a whole scene, trained on its photos."""
