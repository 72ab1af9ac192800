"""The sections of the speed benchmark."""
