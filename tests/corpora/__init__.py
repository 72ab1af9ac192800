"""Answers for testing graders: labelled pairs, notation variants of references, hostile text. See README.md."""
