"""Every test runs as production does: patched by gevent before anything else is imported (see pytest.ini)."""

from gevent import monkey

monkey.patch_all()
