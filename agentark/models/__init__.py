"""Models: which network a name means, and how it is loaded."""
