"""`sandsmith repl`: a live session for people, on a terminal or from a pipe. Reads, dispatches, renders, nothing else.

Only click is imported with this package; prompt_toolkit comes when a terminal is there to prompt on.
"""
