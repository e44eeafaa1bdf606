"""The durable mailbox: who owns a partition, how its entries are read, and how answers come back."""
