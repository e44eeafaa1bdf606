"""Open chats: the registry, one interconnection for each, and what an interconnection is made of."""
