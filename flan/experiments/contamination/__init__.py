"""How much of an evaluation set stands in a corpus: overlap of 13-grams of words.

After GPT-3 (arXiv 2005.14165, appendix C) and FLAN (arXiv 2109.01652, appendix C): an example
is dirty when one of its n-grams is in the corpus, and scores are compared on the clean rest.
"""
