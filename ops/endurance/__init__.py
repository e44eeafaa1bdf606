"""The soak and the parts that fault tests share: real processes, real faults, and a judge that reads the ledger."""
