"""The atomic cluster expansion (ACE): descriptors of environments, and the potential linear in
them."""
