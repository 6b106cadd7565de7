"""The pure rules of delivery: what matches, what is sent, how it is signed, when to try again."""
