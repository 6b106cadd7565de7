"""What all four Brikk services stand on."""
