"""The tables of README.md and docs/: a module a table, whose `table` makes Markdown of a file of bench/results."""
