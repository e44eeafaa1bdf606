"""Everything with a mailbox, and the only place that opens a socket outward."""
