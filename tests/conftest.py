"""Every test runs as production does: patched by gevent before anything else is imported (see pytest.ini)."""

import bridge.ops.pytest_gevent  # noqa: F401 - for who runs pytest without pytest.ini
