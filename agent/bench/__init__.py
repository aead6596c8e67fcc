"""Benchmarks: tasks solved as a user's are, and judged by tests that the loop never sees.

problems.py   one task of a benchmark: the sentence, what lies in the folder, the hidden tests; reads their files
humaneval.py mbpp.py dabench.py quixbugs.py jobs.py   how each benchmark's text becomes a task
suites.py     all of them by name
judging.py    what the hidden tests say of what a run handed over
results.py    one JSON line for each task that was tried, safe against a kill
running.py    tries one task after the other
tables.py     results summed up
compare.py    two results of the same tasks
"""
