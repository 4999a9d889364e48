"""`make pictures`: the pictures of the documentation, taken of the running programs.

`__main__` decides what is shown, `terminal` how text becomes a picture. What the programs do is tested elsewhere.
"""
