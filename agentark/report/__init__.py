"""The report: tables and figures as pure functions of rows, and the paper's own numbers to stand beside them."""
