"""The commands, by what a user is about to do; each imports what is heavy only when it runs."""
