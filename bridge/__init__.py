"""The bridge between a bot's users and the agents of a desk: its language and its rules."""
