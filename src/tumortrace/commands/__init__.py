"""The commands, a module each; heavy libraries are imported when one runs."""
