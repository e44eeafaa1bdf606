"""What the cells of the chat's table do: small changes to the record and to the step."""
