"""Calls to remote services: a pool of clients for each, over transports with limits."""
