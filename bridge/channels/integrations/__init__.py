"""WhatsApp and Messenger, both through the Integrations API."""
