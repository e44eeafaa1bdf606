"""Wall clocks that a test can shift, one process at a time: a small library that is loaded before libc."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("clock_shim.c")


class Clock:
    """The wall clock of every process that is started with `environ`. Its monotonic clock stays as it is."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("there is no C compiler to make the shifted clock with")
        self._file = folder / "offset"
        self._library = folder / "clock_shim.so"
        self.shift(0)
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(self._library), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    @property
    def environ(self) -> dict[str, str]:
        """What the process has to be started with."""
        return {"LD_PRELOAD": str(self._library), "CLOCK_OFFSET_FILE": str(self._file)}

    def shift(self, seconds: float) -> None:
        """From now on the clock differs by so much from the true time. Written in place: the file stays mapped."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("d", seconds))
