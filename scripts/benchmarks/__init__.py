"""Benchmarks: one module a room, and beside them how to load, how to measure and how to compare.

Every figure is relative to a base that runs in the same minutes on the same cores; no absolute figure is a claim.
"""
