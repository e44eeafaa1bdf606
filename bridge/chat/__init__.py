"""The rules of one chat. Read in this order: `step`, `policy`, `machine` (the table), `actions`, `pending`, `retries`."""
