"""A model of the service that explores crashes and lost writes: real rules, real scripts, small remotes, no time."""
