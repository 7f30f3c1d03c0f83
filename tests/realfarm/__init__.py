"""A real build farm on one machine: namespaces with sshd, dockerd and buildkitd, and tests on it.

``python -m tests.realfarm.prepare`` makes what it needs, ``python -m tests.realfarm.up`` raises it
for hands, the fixture ``farm`` raises it for tests.
"""
