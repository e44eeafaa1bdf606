"""The store: every read and write of Redis, each write one script."""
