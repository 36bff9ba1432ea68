"""The experiments that ship with Research OS, written as a user would write them."""
