"""What `openenv play` is made of: forms from a schema, the difference of two states, the loop."""
