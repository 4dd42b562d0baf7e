"""A model of the epoch protocol, explored state by state, and the real code beside it."""
