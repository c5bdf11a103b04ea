"""What a stage costs a month while nobody speaks, and what one conversation costs: prices times measured figures."""
