"""The rules of one chat. Read in this order: `step`, `policy`, `machine`, `actions`, `pending`, `retries`."""
