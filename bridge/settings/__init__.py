"""The settings: where they are read, which there are, what is wrong with them, and what is built from them."""
