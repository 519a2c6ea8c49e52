"""The live notebook in a browser: a proxy to a project's editor, for pages without an origin of their own.

A notebook's outputs may hold any script, so the editor's page gets no rights: it is served with a sandbox, its origin
is opaque, it sends no cookie. What it may do instead is in its address, a ticket (:mod:`.tickets`) for one session and
for looking or editing. :mod:`.filter` says what goes through; nothing else does.
"""
