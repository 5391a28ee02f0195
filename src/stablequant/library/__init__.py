"""The front door: what a researcher types. `import stablequant as sq` hands these names out, each when first used.

The functions here join the rooms for the usual order of work: load, read speech, observe, choose a scheme, evaluate, search,
quantise, export, open. What they return are the rooms' own objects, so anything more special can go on from there.
docs/python.md walks through them.
"""
