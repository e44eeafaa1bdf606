"""Importing this patches the process with gevent; pytest loads it before any plugin can import a socket or ssl."""

from gevent import monkey

monkey.patch_all()
