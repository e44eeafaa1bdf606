"""Gunicorn's configuration of the bare handler: the service's own, as far as it shapes a request."""

from gevent import monkey

monkey.patch_all()

wsgi_app = "bridge.ops.bench.bare_app:application"
workers = 1
worker_class = "bridge.ops.worker.BridgeWorker"
worker_connections = 4000
keepalive = 65
control_socket_disable = True
loglevel = "warning"
