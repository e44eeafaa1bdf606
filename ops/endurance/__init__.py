"""Proving the promises: real processes, real faults, and a judge who reads the simulator's ledger."""
