"""A seeded imitation of model providers: their dialects, limits, batches and failures.

Tests and benchmarks of reviewers run against it over real sockets. ``plan`` decides what happens
to each attempt, ``asks`` reads requests, ``replies`` writes reviews, ``answers`` puts them into a
dialect, ``limits`` and ``ledger`` keep the books, ``service`` routes, ``wire`` speaks HTTP, and
``running`` starts it on a thread or as a process.
"""
