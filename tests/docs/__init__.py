"""Documentation as tests: snippets are executed, examples replayed, links followed."""
