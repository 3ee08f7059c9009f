"""What runs on the other side: the warm parent, the trusted init of a sandbox, and the untrusted session.

These modules import the standard library and each other, nothing else: they are loaded by a bare
interpreter (`-I -S`, empty environment) under the name `_openenv_guest`. The supervisor imports the pieces
that both sides need (framing, system call numbers, filter programs) from here.
"""
