"""The loops that take due deliveries and attempt them."""
