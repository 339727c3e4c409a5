"""What one run knows while it goes."""
