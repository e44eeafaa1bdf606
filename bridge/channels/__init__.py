"""Channels: what carries the messages of one provider's users.

A channel is one object, `channel.Channel`, that reads and verifies webhooks and spells calls; it opens no socket.
`table` says which channel carries which provider. A new channel is a folder here and a row there.
"""
