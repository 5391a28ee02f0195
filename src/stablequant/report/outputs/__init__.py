"""The form of every JSON that the program writes: what reads it is checked by these, and `schema` prints them."""
