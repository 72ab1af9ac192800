"""Whole-run back ends: a recipe goes in, a run directory comes out."""
