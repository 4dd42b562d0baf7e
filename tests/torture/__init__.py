"""Commands that are broken at every point at which they change a file: nothing may be lost."""
