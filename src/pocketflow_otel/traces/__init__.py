"""The reading side: files to model to text."""
