"""Mutation testing of the rules of a chat: small faults are put into them, and the tests have to notice each."""
