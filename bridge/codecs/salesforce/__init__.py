"""Salesforce's REST API: bytes to words of the house and back."""
