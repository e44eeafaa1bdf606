"""The sandbox: the whole service on one machine, played as a story or left open to try."""
