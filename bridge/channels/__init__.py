"""Channels: what carries the messages of one provider's users, each one object (`channel.Channel`), and the table of them."""
