"""Multi-agent systems: who talks to whom.  Every protocol is a file of `protocols/`, and all write the same log."""
