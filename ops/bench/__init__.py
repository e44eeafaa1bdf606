"""The benchmark: the whole service in its own processes under load, compared with floors that the same run measures."""
