"""The pure rules of counting: what an event measures, how that adds up, what a window spans."""
