//! Request heads by example: what passes, as what, and what is refused for which reason.
