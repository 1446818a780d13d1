"""What is sent and what arrives."""
