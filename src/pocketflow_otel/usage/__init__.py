"""Tokens and money: what a model call used, added up and priced."""
