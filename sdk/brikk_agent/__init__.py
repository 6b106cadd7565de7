"""Write a Brikk agent in twenty lines, and verify Brikk webhooks."""
