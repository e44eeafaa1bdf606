"""`python -m bridge.ops.endurance`: the soak."""

import bridge.ops.patched  # noqa: F401  # before anything that holds a socket is imported

import typer  # isort: skip

from bridge.ops.endurance.soak import main  # isort: skip

if __name__ == "__main__":
    typer.run(main)
