"""The product: a speech gateway between phones and Amazon Nova Sonic."""
