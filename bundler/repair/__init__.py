"""``bundle repair``: one whole bundle out of two damaged copies of it, without any key.

What is known without a key is the list in ``release.json``: it has the size and the digest of every member, and so the
size of every frame. ``copies`` reads two copies with holes in them, ``mixing`` finds where they differ and what can be
tried, ``weaving`` heals frame after frame, ``healing`` the whole file, ``verb`` writes it, checks it and names it.
"""
