"""Which answers are right: a stage of its own over stored texts, so that a changed grader generates nothing again."""
