"""Stages and their graph: what each notebook run reads, writes and depends on."""
