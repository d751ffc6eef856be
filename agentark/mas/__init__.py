"""Multi-agent systems: who talks to whom.  Every protocol writes the same log."""
