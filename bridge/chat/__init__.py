"""The rules of one chat: everything that changes a chat is in this folder.

Read in this order: `policy` (what the operator decides), `step` (what one step reads and brings), `table` (states ×
events), `actions` (what its cells do), `machine` (how a step is made), `pending` (the commands that a record owes),
`retries` (what follows a failed command).
"""
