"""Live Agent's chat API: bytes to words of the house and back."""
