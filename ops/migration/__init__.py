"""Moving from the Go service that this one replaces: what will behave differently, and its open chats brought over."""
