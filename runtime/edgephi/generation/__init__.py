"""The generation loop: choosing tokens, constraints, speculation, text, the reply."""
