"""The rules of one chat. Read `step`, `policy`, `machine` (the table), `actions`, `pending`, `retries`, in this order."""
