"""The benchmark: the whole service in processes of its own, driven, measured, held against floors of the same run."""
